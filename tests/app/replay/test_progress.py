"""How far it is, on a terminal and in a log."""

from io import StringIO

from rich.console import Console

from app.replay.progress import show_progress


def shown(total: int, *, terminal: bool) -> str:
    """What is written while `total` things are done, three at a time."""
    out = StringIO()
    with show_progress(Console(file=out, force_terminal=terminal, width=100), "events", total) as advance:
        for start in range(0, total, 3):
            advance(min(3, total - start))
    return out.getvalue()


def test_a_log_gets_a_line_at_every_twentieth() -> None:
    """At most twenty, however much there is, the last for the whole."""
    lines = shown(1000, terminal=False).splitlines()
    assert len(lines) == 20
    assert (lines[0], lines[-1]) == ("events: 51 of 1000 (5 %)", "events: 1000 of 1000 (100 %)")
    assert shown(4, terminal=False).splitlines() == ["events: 3 of 4 (75 %)", "events: 4 of 4 (100 %)"]


def test_nothing_to_do_is_no_progress() -> None:
    """A file in which nothing was used has no events."""
    assert shown(0, terminal=False) == ""


def test_a_terminal_gets_a_bar_with_rate_and_time_left() -> None:
    """The bar ends with everything done."""
    text = shown(1000, terminal=True)
    assert "1000/1000" in text
    assert "/s" in text
    assert "0:00:00" in text
