"""One month of one customer, kept as text that someone in finance can read and check."""

from difflib import unified_diff
from pathlib import Path

import pytest

from tests.golden.month import Month, show

FOLDER = Path(__file__).parent
EVENTS, LEDGER = FOLDER / "month.events.txt", FOLDER / "month.ledger.txt"


def test_the_month_gives_the_ledger_that_is_kept(request: pytest.FixtureRequest) -> None:
    """Byte for byte; the difference is the message. `pytest tests/golden --write-golden` writes it anew."""
    made = show(Month().play(EVENTS.read_text()))
    if request.config.getoption("--write-golden", default=False):
        LEDGER.write_text(made)
    kept = LEDGER.read_text()
    if made != kept:
        lines = unified_diff(kept.splitlines(), made.splitlines(), LEDGER.name, "what comes out", lineterm="")
        pytest.fail("\n".join(lines), pytrace=False)
