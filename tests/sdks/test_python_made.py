"""What is written by a script is what the script writes."""

import ast
import json
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from quotastack import models
from quotastack.answers import BatchItem, EntitlementCheck, UsageRecorded


def _load(path: Path) -> ModuleType:
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def python_sdk(repository: Path) -> Path:
    """Where the SDK is."""
    return repository / "sdks" / "python"


def test_the_sync_client_is_made_from_the_async_one(python_sdk: Path) -> None:
    """Word by word; `python sdks/python/scripts/make_sync.py` writes it anew."""
    script = _load(python_sdk / "scripts" / "make_sync.py")
    kept = {path.name: path.read_text() for path in script.SYNC.glob("*.py") if path.name != script.BY_HAND}
    assert kept == script.modules()
    words = [name for name, text in kept.items() if re.search(r"(?<!_)\b(?:async|await)\b", text)]
    assert not words


def test_the_models_are_made_from_the_document(python_sdk: Path) -> None:
    """`python sdks/python/scripts/make_models.py` writes them anew."""
    script = _load(python_sdk / "scripts" / "make_models.py")
    document = json.loads(script.DOCUMENT.read_text())
    assert script.MODELS.read_text() == script.formatted(script.make(document))


def test_a_newer_server_is_understood() -> None:
    """Members that nobody knows yet are passed over, and so are new names in a set."""
    released = msgspec.json.decode(b'{"released": true, "used": 1, "limit": null, "since": "x"}', type=models.Released)
    assert released.released
    ended = {"reservation_id": "r", "state": "melted", "charged": 1, "released": 0, "balance": 2.5, "late": False}
    assert msgspec.convert(ended, models.ReservationEnded).state == "melted"


@pytest.mark.parametrize(
    ("answer", "model"),
    [
        (EntitlementCheck, models.CheckResult),
        (UsageRecorded, models.UsageAccepted),
        (BatchItem, models.BatchResult),
    ],
)
def test_what_the_client_answers_leaves_nothing_out(answer: type[msgspec.Struct], model: type[msgspec.Struct]) -> None:
    """Whatever the API says has its place, but for what concerns CloudEvents."""
    only_of_cloud_events = {"index", "feature_key"} if model is models.BatchResult else set[str]()
    assert set(answer.__struct_fields__) >= set(model.__struct_fields__) - only_of_cloud_events


def test_only_what_is_needed_is_loaded(python_sdk: Path) -> None:
    """The client stands on httpx and msgspec alone."""
    sources = [path.read_text() for path in (python_sdk / "src").rglob("*.py") if "integrations" not in path.parts]
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    imported = {name.partition(".")[0] for name in names}
    assert imported - set(sys.stdlib_module_names) == {"httpx", "msgspec", "quotastack"}
