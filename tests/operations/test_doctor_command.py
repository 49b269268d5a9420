"""`quotastack doctor` as a command: status, document, table; and what its page says of it."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import main
from app.doctor.examining import CHECKS
from app.embedded.dev_file import DevStack, write_dev_stack

ROW = re.compile(r"^\| `([a-z-]+)` \|", re.MULTILINE)


def test_the_command(tmp_path: Path) -> None:
    """Its exit status, its document and its table."""
    environment = dict.fromkeys(("DATABASE_URL", "REDIS_URL", "ADMIN_TOKEN"), None)
    variables = {**environment, "VAR_DIR": str(tmp_path), "DATABASE_URL": "postgresql://o@127.0.0.1:1/db"}
    result = CliRunner().invoke(main, ["doctor", "--json"], env=variables)
    assert result.exit_code == 2
    document = json.loads(result.output)
    assert (document["format"], document["status"]) == (1, "problem")
    assert {check["check"] for check in document["checks"]} == {check.name for check in CHECKS}
    table = CliRunner().invoke(main, ["doctor", "--quiet"], env={**variables, "COLUMNS": "300"})
    assert table.exit_code == 2
    assert "postgres" in table.output
    assert "See that it runs" in table.output
    assert CliRunner().invoke(main, ["--version"]).output.startswith("quotastack ")


@pytest.mark.parametrize("is_there", [True, False])
def test_the_stack_of_this_machine_is_down(tmp_path: Path, *, is_there: bool) -> None:
    """Where its directory is there, that is said and how it is started; else which variables are missing."""
    if is_there:
        (tmp_path / "data").mkdir()
    verdicts = examined({"VAR_DIR": str(tmp_path)})
    for check, variable in (("postgres", "DATABASE_URL"), ("redis", "REDIS_URL")):
        assert verdicts[check]["seen"].startswith(f"{variable} is not set")
        assert ("no stack runs here" in verdicts[check]["seen"]) is is_there
        assert ("make run" in verdicts[check]["remedy"]) is is_there


def test_a_stack_that_was_killed(tmp_path: Path) -> None:
    """Its addresses are there still, and nobody answers: how it is started is said, and no variable is to be set."""
    (tmp_path / "data").mkdir()
    addresses = {"database_url": "postgresql://o@127.0.0.1:1/db", "redis_url": "redis://127.0.0.1:1"}
    texts = ("core_url", "edge_url", "admin_token", "tenant_id", "sandbox_key", "live_key", "plan_variant_id")
    write_dev_stack(tmp_path, DevStack(**dict.fromkeys(texts, ""), feature_key="", **addresses, pids={}))
    verdicts = examined({"VAR_DIR": str(tmp_path)})
    for check in ("postgres", "redis"):
        assert verdicts[check]["seen"].startswith("it cannot be reached")
        assert "`make run`" in verdicts[check]["remedy"]


def examined(variables: dict[str, str]) -> dict[str, dict[str, str]]:
    """What each check says where only these variables are set."""
    unset = dict.fromkeys(("DATABASE_URL", "REDIS_URL", "ADMIN_TOKEN", "SPOOL_DIRECTORY"), None)
    result = CliRunner().invoke(main, ["doctor", "--json"], env={**unset, **variables})
    assert result.exit_code == 2
    return {check["check"]: check for check in json.loads(result.output)["checks"]}


def test_every_check_is_on_the_page(repository: Path) -> None:
    """With a row of its own, in the order in which they are looked at."""
    page = (repository / "docs/operations.md").read_text()
    section = page.partition("## The doctor")[2].partition("\n## ")[0]
    assert ROW.findall(section) == [check.name for check in CHECKS]


def test_the_page_names_figures_that_exist(repository: Path) -> None:
    """Whoever is woken by one finds it."""
    named = set(re.findall(r"quotastack_[a-z_]+", (repository / "docs/operations.md").read_text()))
    known = set(re.findall(r"^\| `(quotastack_[a-z_]+)`", (repository / "docs/metrics.md").read_text(), re.MULTILINE))
    roles = {"quotastack_core", "quotastack_flusher", "quotastack_jobs"}
    assert named - roles <= known
