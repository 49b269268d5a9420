"""The Dockerfile: locked packages, all files that a role needs and no others, a user who owns nothing."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.web.pages import Library
from tests.deploy.files import OURS, ROOT, SERVICES

INSTRUCTIONS = [
    instruction.split(maxsplit=1)
    for instruction in re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text()).splitlines()
    if instruction and not instruction.startswith("#")
]
COPIED = [source for name, rest in INSTRUCTIONS if name == "COPY" for source in rest.split()[:-1]]


def test_the_base_is_chosen() -> None:
    """One stage on a slim Python, at the version that the house is typed and locked for."""
    assert [rest for name, rest in INSTRUCTIONS if name == "FROM"] == ["python:3.11-slim"]


def test_packages_come_from_the_lock() -> None:
    """With their hashes; the product itself asks no index; no registry is named and no secret is taken in."""
    installs = [rest for name, rest in INSTRUCTIONS if name == "RUN" and "pip install" in rest]
    assert len(installs) == 2
    assert "--require-hashes -r requirements.lock" in installs[0]
    assert "--no-deps --no-build-isolation -e ." in installs[1]
    assert not re.search(r"index|://|trusted|find-links", (ROOT / "Dockerfile").read_text())
    assert not [name for name, _ in INSTRUCTIONS if name == "ARG"]


def test_the_process_is_not_root() -> None:
    """The last word is a user who was made for it, after everything that root has to do."""
    assert INSTRUCTIONS[-1] == ["USER", "quotastack"]
    assert any(name == "RUN" and rest.startswith("useradd ") for name, rest in INSTRUCTIONS)


def test_the_builder_gets_what_is_copied() -> None:
    """Every path exists, and .dockerignore lets through just these."""
    ignore = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert ignore[0] == "*"
    assert sorted(line.removeprefix("!") for line in ignore if line.startswith("!")) == sorted(COPIED)
    assert all((ROOT / source).exists() for source in COPIED)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the image has."""
    folder = tmp_path_factory.mktemp("image")
    for source in COPIED:
        target = folder / source
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, target)
    return folder


def run_in(image: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A Python that finds the image's code first, without any variable."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=image, env={}, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("service", OURS)
def test_a_role_finds_its_code(image: Path, service: str) -> None:
    """Each starts from these files alone, as far as saying which settings it misses."""
    done = run_in(image, *SERVICES[service]["command"][1:])
    assert done.returncode
    assert re.search(r"^(quotastack: )?\w*(DATABASE|REDIS)_URL is not set", done.stderr, re.MULTILINE), done.stderr
    assert "Traceback" not in done.stderr


def test_core_finds_its_pages(image: Path) -> None:
    """What it serves and what does not lie in a package: every page of the checkout; and the steps of the schema."""
    script = (
        "from pathlib import Path; from app.io.postgres import known_steps; from app.web import docs, pages; "
        "root = Path(docs.__file__).parents[2]; print(root, len(pages.Library(root).pages), len(known_steps()))"
    )
    done = run_in(image, "-c", script)
    root, served, steps = done.stdout.split()
    assert Path(root) == image
    assert int(served) == len(Library(ROOT).pages)
    assert int(steps) == len(list((ROOT / "migrations").glob("quotastack_*.py")))
