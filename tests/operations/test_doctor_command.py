"""`quotastack doctor` as a command: status, document, table; and what its page says of it."""

import json
import re
from pathlib import Path

from click.testing import CliRunner

from app.cli import main
from app.doctor.examining import CHECKS

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
