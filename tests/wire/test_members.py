"""Members that come twice are found, wherever they stand and however they are written."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.members import outer_members, repeated_member
from tests.rules.laws import LAW

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@LAW
@given(VALUES)
def test_whatever_a_writer_writes_has_each_once(value: Any) -> None:
    """In plain text and with escapes."""
    assert repeated_member(json.dumps(value).encode()) is None
    assert repeated_member(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")) is None


@LAW
@given(st.text(), VALUES, VALUES)
def test_a_second_one_is_named(name: str, one: Any, other: Any) -> None:
    """Whatever its values are, and also inside."""
    member = json.dumps(name)
    text = f"{{{member}: {json.dumps(one)}, {member}: {json.dumps(other)}}}"
    for body in (text, f"[1, {text}]", f'{{"outer": {text}}}'):
        assert repeated_member(body.encode()) is not None


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"a": 1, "\\u0061": 2}', "a"),
        (b'{"a": {"b": 1}, "c": {"b": 1}}', None),
        (b'{"a": {"b": 1, "b": 1}}', "b"),
        (b'[{"a": 1}, {"a": 1}]', None),
        (b'{"a": "\\"a\\": 1"}', None),
        (b'{"": 1, "": 1}', ""),
        (b'{"a": 1, "A": 1}', None),
        (b'{"a": ' + b"9" * 10_000 + b"}", None),
        (b"1e999", None),
    ],
)
def test_cases(body: bytes, name: str | None) -> None:
    """Escapes are undone before names are compared, texts are no members, and letters count."""
    assert repeated_member(body) == name


def test_outer_members() -> None:
    """As often as they come, and nothing of what is inside."""
    assert outer_members(b'{"a": [{"b": 1}, {"c": {}}], "\\u0061": {"d": 1}, "e": 1}') == ["a", "a", "e"]
