"""What is wrong with a field of a request, in the same words and under the same code wherever it was sent.

A message goes on where the name of its field ends and has no full stop: `units` `must be a number, not a string`. The
detail of the problem is both, as a sentence. What is missing or of another type than it must be makes the body another
one than the route takes (`invalid_body`); what is of the type and still of no use is a value (`invalid_value`).
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from app.rules.moments import to_rfc3339
from app.wire.codes import Code
from app.wire.problem import FieldError

MISSING = "is required"
REPEATED = "is given more than once"
UNKNOWN_FIELD = "is not a field of this request"
UNKNOWN_PARAMETER = "is not a parameter of this route"
NO_BODY = "This route takes a JSON body, and none was sent."
"""A whole detail: there is no field to name."""
NOT_A_MOMENT = "must be a moment such as 2026-01-31T00:00:00Z"
THE_CLOCK = "this environment's clock"
"""By which what a customer sees goes: the real time, or in a sandbox its test clock."""
TEST_CLOCK = "this sandbox's test clock"
REAL_TIME = "the real time"
MAX_SHOWN_NAME = 100
"""Of a name that a client sent, as much comes back to it."""

_AT_PATH = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?", re.DOTALL)
_NAMED = re.compile(r"Object (?P<how>contains unknown|missing required) field `(?P<name>.*)`", re.DOTALL)
_EXPECTED = re.compile(r"Expected `(?P<types>[^`]*)`(?:, got `(?P<sent>[^`]*)`|(?P<bounds>.*))", re.DOTALL)
_EXPECTED_IN_WORDS = {
    "object": "an object",
    "array": "an array",
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "datetime": "a moment such as 2026-01-31T00:00:00Z",
    "number": "a number",
    "null": "null",
}
_SENT_IN_WORDS = {
    **_EXPECTED_IN_WORDS,
    "int": "a number",
    "float": "a number with decimals",
    "bool": "a boolean",
}
_BOUND = re.compile(r" (?P<length>of length )?(?P<sign>[<>]=?) (?P<bound>\S+)")
_SIGNS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
_PARTS = {"str": "character", "array": "item", "object": "member"}
"""What the length of something is counted in."""
_SENT_AS = {"NoneType": "null", "Decimal": "float", "list": "array", "dict": "object"}
"""What msgspec calls what it reads, where that is not the name of the type."""


class Complaint(NamedTuple):
    """One thing that is wrong. `field` is a JSON path, empty for the body itself."""

    code: Code
    field: str
    message: str

    @property
    def errors(self) -> list[FieldError]:
        """The field by its name."""
        return [FieldError(self.field, self.message)] if self.field else []

    @property
    def detail(self) -> str:
        """The same as a sentence."""
        return sentence([FieldError(self.field or "The body", self.message)])


def _as_it_is(what: str, _path: str) -> str:
    return what


def complaint_of(text: str, explain: Callable[[str, str], str] = _as_it_is) -> Complaint:
    """What msgspec says of JSON that has another form than it should. `explain` may know better, of (message, path)."""
    found = _AT_PATH.fullmatch(text)
    what, path = (found["what"], found["path"] or "") if found else (text, "")
    if named := _NAMED.fullmatch(what):
        name = named["name"][:MAX_SHOWN_NAME]
        field = f"{path}.{name}" if path else name
        if named["how"] == "contains unknown":
            return Complaint(Code.UNKNOWN_FIELD, field, UNKNOWN_FIELD)
        return Complaint(Code.INVALID_BODY, field, MISSING)
    code = Code.INVALID_BODY if is_about_type(what) else Code.INVALID_VALUE
    return Complaint(code, path, in_words(explain(what, path)))


def repeated(name: str) -> Complaint:
    """Of a member that comes twice."""
    return Complaint(Code.INVALID_BODY, name[:MAX_SHOWN_NAME], REPEATED)


def wrong_type(expected: str, sent: object) -> str:
    """What msgspec would say of a value that it does not look at."""
    name = type(sent).__name__
    return f"Expected `{expected}`, got `{_SENT_AS.get(name, name)}`"


def is_about_type(what: str) -> bool:
    """Whether msgspec says that the value is of another type."""
    found = _EXPECTED.fullmatch(what)
    return found is not None and found["sent"] is not None


def now_in_words(now_at: int, clock: str = THE_CLOCK) -> str:
    """What counts as now, for whoever sent a moment that lies on the wrong side of it."""
    return f"now ({to_rfc3339(now_at)} by {clock})"


def in_words(what: str) -> str:
    """What msgspec says of a value, as it goes on behind the name of a field."""
    if found := _EXPECTED.fullmatch(what):
        expected = " or ".join(_EXPECTED_IN_WORDS.get(name, f"`{name}`") for name in found["types"].split(" | "))
        sent = found["sent"]
        if sent is None:
            return _bound_in_words(found["types"], found["bounds"]) or f"must be {expected}{found['bounds']}"
        return f"must be {expected}, not {_SENT_IN_WORDS.get(sent, sent)}"
    if what == "Invalid RFC3339 encoded datetime":
        return NOT_A_MOMENT
    return f"cannot be used: {what[0].lower()}{what[1:]}" if what[:1].isupper() else what


def _bound_in_words(types: str, text: str) -> str | None:
    """How large or long something must be; None where that is not what is said."""
    if text == " with a timezone component":
        return f"{NOT_A_MOMENT}, with its offset from UTC"
    found = _BOUND.fullmatch(text)
    if found is None:
        return None
    said = f"{_SIGNS[found['sign']]} {found['bound']}"
    if found["length"] is None:
        return f"must be {said}"
    part = _PARTS.get(types, "part")
    return f"must have {said} {part if found['bound'] == '1' else f'{part}s'}"


def sentence(errors: Sequence[FieldError]) -> str:
    """All that is wrong, for people."""
    return "; ".join(f"{error.field} {error.message}" for error in errors).removesuffix(".") + "."
