"""The words for what is wrong with a field, as every process says them."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from app.wire.codes import Code
from app.wire.complaints import MAX_SHOWN_NAME, complaint_of, in_words, wrong_type

Code3 = Annotated[str, Meta(min_length=1, max_length=3)]


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    """What stands inside."""

    key: str
    units: int | None = None


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    """What is sent."""

    name: str = ""
    count: Annotated[int, Meta(ge=1, le=99)] = 1
    above: Annotated[float, Meta(gt=0, lt=2)] = 1
    code: Code3 = "a"
    codes: Annotated[list[Code3], Meta(min_length=1, max_length=2)] = msgspec.field(default_factory=lambda: ["a"])
    tags: Annotated[dict[str, str], Meta(max_length=1)] = {}
    share: float = 0
    is_on: bool = False
    at: Annotated[datetime, Meta(tz=True)] | None = None
    kind: Literal["a", "b"] = "a"
    inner: list[Inner] = []


BODY, VALUE, UNKNOWN = Code.INVALID_BODY, Code.INVALID_VALUE, Code.UNKNOWN_FIELD
CASES: list[tuple[str, Code, str]] = [
    ("[]", BODY, "The body must be an object, not an array."),
    ("null", BODY, "The body must be an object, not null."),
    ('{"name": 1}', BODY, "name must be a string, not a number."),
    ('{"name": null}', BODY, "name must be a string, not null."),
    ('{"count": "1"}', BODY, "count must be a whole number, not a string."),
    ('{"count": 1.5}', BODY, "count must be a whole number, not a number with decimals."),
    ('{"count": true}', BODY, "count must be a whole number, not a boolean."),
    ('{"count": 0}', VALUE, "count must be at least 1."),
    ('{"count": 100}', VALUE, "count must be at most 99."),
    ('{"count": 12345678901234567890123}', VALUE, "count must be at most 99."),
    ('{"above": 0}', VALUE, "above must be more than 0.0."),
    ('{"above": 2}', VALUE, "above must be less than 2.0."),
    ('{"code": ""}', VALUE, "code must have at least 1 character."),
    ('{"code": "abcd"}', VALUE, "code must have at most 3 characters."),
    ('{"codes": []}', VALUE, "codes must have at least 1 item."),
    ('{"codes": ["a", "b", "c"]}', VALUE, "codes must have at most 2 items."),
    ('{"codes": ["a", "bcde"]}', VALUE, "codes[1] must have at most 3 characters."),
    ('{"tags": {"a": "b", "c": "d"}}', VALUE, "tags must have at most 1 member."),
    ('{"share": {}}', BODY, "share must be a number, not an object."),
    ('{"is_on": "yes"}', BODY, "is_on must be true or false, not a string."),
    ('{"at": 1}', BODY, "at must be a moment such as 2026-01-31T00:00:00Z or null, not a number."),
    (
        '{"at": "2026-01-31T00:00:00"}',
        VALUE,
        "at must be a moment such as 2026-01-31T00:00:00Z, with its offset from UTC.",
    ),
    ('{"at": "soon"}', VALUE, "at must be a moment such as 2026-01-31T00:00:00Z."),
    ('{"kind": "c"}', VALUE, "kind cannot be used: invalid enum value 'c'."),
    ('{"inner": {}}', BODY, "inner must be an array, not an object."),
    ('{"inner": [{"key": "k", "units": "2"}]}', BODY, "inner[0].units must be a whole number or null, not a string."),
    ('{"inner": [{"key": "k"}, {}]}', BODY, "inner[1].key is required."),
    ('{"inner": [{"key": "k", "more": 1}]}', UNKNOWN, "inner[0].more is not a field of this request."),
    ('{"nmae": ""}', UNKNOWN, "nmae is not a field of this request."),
]


@pytest.mark.parametrize(("body", "code", "detail"), CASES, ids=[body for body, _, _ in CASES])
def test_what_msgspec_says(body: str, code: Code, detail: str) -> None:
    """Is said in words, with where it is; what names a field says nothing else in its detail."""
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.json.decode(body, type=Outer)
    complaint = complaint_of(str(refused.value))
    assert (complaint.code, complaint.detail) == (code, detail)
    assert [f"{error.field} {error.message}." for error in complaint.errors] == ([detail] if complaint.field else [])


def test_a_long_name_is_not_sent_back() -> None:
    """As much of it as tells which it is."""
    complaint = complaint_of(f"Object contains unknown field `{'x' * 1000}`")
    assert complaint.field == "x" * MAX_SHOWN_NAME


@pytest.mark.parametrize("sent", [None, True, "1", [1], {"a": 1}])
def test_what_is_looked_at_by_hand(sent: Any) -> None:
    """Is called what msgspec calls it."""
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.json.decode(msgspec.json.encode(sent), type=float)
    assert in_words(str(refused.value)) == in_words(wrong_type("number", sent))


def test_a_better_word_is_taken() -> None:
    """Of whoever knows what may stand there; they are asked with what is wrong, and where."""
    asked: list[tuple[str, str]] = []

    def explain(what: str, path: str) -> str:
        asked.append((what, path))
        return "must be one of a, b"

    complaint = complaint_of("Invalid enum value 'c' - at `$.kind`", explain)
    assert complaint == (VALUE, "kind", "must be one of a, b")
    assert asked == [("Invalid enum value 'c'", "kind")]
