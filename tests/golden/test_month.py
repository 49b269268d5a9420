"""One month of one customer, kept as text that someone in finance can read and check."""

from pathlib import Path

import pytest

from tests.golden.kept import compare
from tests.golden.month import Month, show

FOLDER = Path(__file__).parent
EVENTS, LEDGER = FOLDER / "month.events.txt", FOLDER / "month.ledger.txt"


def test_the_month_gives_the_ledger_that_is_kept(request: pytest.FixtureRequest) -> None:
    """Byte for byte."""
    compare(show(Month().play(EVENTS.read_text())), LEDGER, request)
