"""Who may read the figures of a process."""

import pytest

from app.wire.scraping import may_scrape

TOKEN = "t" * 32


@pytest.mark.parametrize(
    ("token", "authorization", "peer", "is_forwarded", "allowed"),
    [
        # without a token: this machine, and nobody through it
        (None, "", "127.0.0.1", False, True),
        (None, "", "127.8.9.1", False, True),
        (None, "", "::1", False, True),
        (None, "", "::ffff:127.0.0.1", False, True),
        (None, "", "127.0.0.1", True, False),
        (None, "", "10.0.0.1", False, False),
        (None, "", "::ffff:10.0.0.1", False, False),
        (None, "", "", False, False),
        (None, f"Bearer {TOKEN}", "10.0.0.1", False, False),
        # with one: who has it, from wherever
        (TOKEN, f"Bearer {TOKEN}", "10.0.0.1", True, True),
        (TOKEN, f"bearer {TOKEN} ", "", False, True),
        (TOKEN, "", "127.0.0.1", False, False),
        (TOKEN, TOKEN, "127.0.0.1", False, False),
        (TOKEN, f"Basic {TOKEN}", "127.0.0.1", False, False),
        (TOKEN, f"Bearer {TOKEN}t", "127.0.0.1", False, False),
        (TOKEN, "Bearer \u00e4", "127.0.0.1", False, False),
    ],
)
def test_who_may_scrape(token: str | None, authorization: str, peer: str, is_forwarded: bool, allowed: bool) -> None:  # noqa: FBT001 - a row of the table
    """A token that is set decides alone; without one the address of who connected does."""
    assert may_scrape(token, authorization, peer, is_forwarded=is_forwarded) is allowed
