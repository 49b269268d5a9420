"""The edge stays light: starting it loads no framework, no database driver and nothing written in Rust."""

import subprocess
import sys

from tests.floors.source import ROOT, refuse

HEAVY = ("asyncpg", "cryptography", "granian", "litestar", "orjson", "piccolo", "pydantic", "pydantic_core")
SCRIPT = f"import sys, edge.main; print(*sorted(set({HEAVY}) & set(sys.modules)), sep='\\n')"

REPAIR = (
    "Importing edge.main loads what the edge must not carry. Find the chain with `python -X importtime -m edge.main` "
    "and take from app.rules or app.wire what is needed, or write it in edge/."
)


def test_edge_loads_nothing_heavy() -> None:
    """A fresh interpreter that imports edge.main holds none of the heavy modules."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"edge.main must be importable without side effects or settings.\n{done.stderr}"
    refuse(done.stdout.split(), REPAIR)
