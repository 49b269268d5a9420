"""What verify shows while it runs."""

from io import StringIO

import pytest
from rich.console import Console

from app.ledger.showing import show_verifying
from app.ledger.verify import Progress


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_is_for_terminals(*, is_terminal: bool) -> None:
    """Accounts, events and the rate; elsewhere not a character."""
    output = StringIO()
    console = Console(file=output, force_terminal=is_terminal, width=160)
    with show_verifying(console) as watch:
        watch(Progress(accounts=7, events=5_000, all_accounts=10, all_events=1_000_000))
    shown = output.getvalue()
    if is_terminal:
        assert "accounts 7 of 10, events 5,000 of 1,000,000" in shown
        assert "events/s" in shown
    else:
        assert shown == ""
