"""From JSON to what it should be; where it is not, what is wrong with it, and where."""

import re
from typing import TypeVar

import msgspec

from app.wire.codes import Code
from app.wire.members import outer_members, repeated_member
from app.wire.problem import FieldError
from edge.refusals import Refusal, invalid_field, invalid_value

MAX_SHOWN_NAME = 100
"""Of a name that a client sent, as much comes back to it."""
_AT_PATH = re.compile(r"(?P<message>.*?)(?: - at `\$\.?(?P<path>.*)`)?", re.DOTALL)
_OTHER_TYPE = re.compile(r"Expected `.*`, got `.*`", re.DOTALL)
_NAMED = re.compile(r"Object (?P<what>contains unknown|missing required) field `(?P<name>.*)`", re.DOTALL)
_POSITION = re.compile(r"JSON is malformed: (?P<message>.*) \(byte (?P<byte>\d+)\)", re.DOTALL)

Body = TypeVar("Body")


def decode(decoder: msgspec.json.Decoder[Body], body: bytes | msgspec.Raw) -> Body:
    """What the decoder makes of the body. Raises Refusal that says what is wrong, and where."""
    found = decode_outer(decoder, body)
    try:
        repeated = repeated_member(bytes(body))
    except RecursionError:
        raise _too_deep() from None
    if repeated is not None:
        raise _repeated(repeated)
    return found


def decode_outer(decoder: msgspec.json.Decoder[Body], body: bytes | msgspec.Raw) -> Body:
    """The same of what holds others, each of which is decoded, and looked at, on its own. Raises Refusal."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _not_as_expected(str(error)) from None
    except msgspec.DecodeError as error:
        raise _malformed(str(error), len(body)) from None
    except UnicodeDecodeError:
        raise Refusal(Code.MALFORMED_JSON, "A text is not valid UTF-8.") from None
    except RecursionError:
        raise _too_deep() from None


def decode_many(decoder: msgspec.json.Decoder[Body], body: bytes, name: str) -> Body:
    """What has one member, which holds many. Raises Refusal."""
    found = decode_outer(decoder, body)
    may_be_repeated = body.count(b'"%b"' % name.encode()) > 1 or b"\\" in body
    if may_be_repeated and len(outer_members(body)) > 1:
        raise _repeated(name)
    return found


def _repeated(name: str) -> Refusal:
    return invalid_field(name[:MAX_SHOWN_NAME], "is given more than once.")


def _too_deep() -> Refusal:
    return Refusal(Code.MALFORMED_JSON, "The JSON is nested too deeply.")


def _not_as_expected(text: str) -> Refusal:
    """A refusal from what msgspec says of JSON that has another form than it should."""
    at_path = _AT_PATH.fullmatch(text)
    message, path = (at_path["message"], at_path["path"] or "") if at_path else (text, "")
    named = _NAMED.fullmatch(message)
    if named is None:
        if path == "units":  # an int of more digits than are read
            return invalid_units("is beyond every bound.")
        refuse = invalid_field if _OTHER_TYPE.fullmatch(message) else invalid_value
        return refuse(path or "the body", f"is not as it should be: {message.lower()}.")
    if named["what"] == "contains unknown":
        return unknown(named["name"], "field")
    return invalid_field(named["name"], "is missing.")


def _malformed(text: str, length: int) -> Refusal:
    found = _POSITION.fullmatch(text)
    if found is None:
        return Refusal(Code.MALFORMED_JSON, f"The JSON ends too early, at byte {length}.")
    return Refusal(Code.MALFORMED_JSON, f"{found['message'].capitalize()} at byte {found['byte']}.")


def unknown(name: str, kind: str) -> Refusal:
    """A field or query parameter that this route does not know."""
    shown = name[:MAX_SHOWN_NAME]
    detail = f"There is no {kind} '{shown}' here."
    return Refusal(Code.UNKNOWN_FIELD, detail, errors=[FieldError(shown, f"is no {kind} of this route.")])


def invalid_units(message: str) -> Refusal:
    """Units that are none, or too many."""
    return Refusal(Code.INVALID_UNITS, f"units {message}", errors=[FieldError("units", message)])
