"""Entity tags."""

import pytest

from app.wire.entity_tags import is_known, tag_of


def test_a_tag_is_that_of_its_content() -> None:
    """The same for the same, quoted as RFC 9110 has it."""
    assert tag_of(b"a") == tag_of(b"a") != tag_of(b"b")
    assert tag_of(b"").startswith(b'"')
    assert tag_of(b"").endswith(b'"')


@pytest.mark.parametrize(
    ("sent", "known"),
    [(b'"a"', True), (b'W/"a"', True), (b'"b", "a"', True), (b"*", True), (b'"b"', False), (b"a", False), (b"", False)],
)
def test_what_a_client_has(sent: bytes, *, known: bool) -> None:
    """A weak tag is as good, one of several is enough, `*` is any."""
    assert is_known(sent, b'"a"') is known
