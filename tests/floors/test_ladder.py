"""Imports go down the ladder of ARCHITECTURE.md; `pyproject.toml` holds it as import-linter contracts."""

import subprocess
import sys

from tests.floors.source import ROOT

REPAIR = (
    "An import goes up or sideways, or a new folder has no place on the ladder (pyproject.toml, [tool.importlinter]). "
    "Move the code down to what both sides may import, or leave a mark (outbox, dirty) that the higher part reads."
)


def test_imports_go_down_the_ladder() -> None:
    """All contracts are kept, and every module of `app` stands on a rung."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{REPAIR}\n{done.stdout}{done.stderr}"
