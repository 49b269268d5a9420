"""From JSON to what it should be; where it is not, what is wrong with it, and where."""

import re
from typing import TypeVar

import msgspec

from app.wire import complaints
from app.wire.codes import Code
from app.wire.complaints import MAX_SHOWN_NAME, NO_BODY, UNKNOWN_PARAMETER, Complaint, complaint_of
from app.wire.members import outer_members, repeated_member
from edge.refusals import Refusal, refusal_of

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
        raise refusal_of(complaints.repeated(repeated))
    return found


def decode_outer(decoder: msgspec.json.Decoder[Body], body: bytes | msgspec.Raw) -> Body:
    """The same of what holds others, each of which is decoded, and looked at, on its own. Raises Refusal."""
    if not body:
        raise Refusal(Code.INVALID_BODY, NO_BODY)
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
        raise refusal_of(complaints.repeated(name))
    return found


def _too_deep() -> Refusal:
    return Refusal(Code.MALFORMED_JSON, "The JSON is nested too deeply.")


def _not_as_expected(text: str) -> Refusal:
    """A refusal from what msgspec says of JSON that has another form than it should."""
    complaint = complaint_of(text)
    if complaint.field == "units" and complaint.code is Code.INVALID_VALUE:  # an int of more digits than are read
        return invalid_units("is beyond every bound")
    return refusal_of(complaint)


def _malformed(text: str, length: int) -> Refusal:
    found = _POSITION.fullmatch(text)
    if found is None:
        return Refusal(Code.MALFORMED_JSON, f"The JSON ends too early, at byte {length}.")
    return Refusal(Code.MALFORMED_JSON, f"{found['message'].capitalize()} at byte {found['byte']}.")


def unknown_parameter(name: str) -> Refusal:
    """A parameter of the query that this route does not know."""
    return refusal_of(Complaint(Code.UNKNOWN_FIELD, name[:MAX_SHOWN_NAME], UNKNOWN_PARAMETER))


def invalid_units(message: str) -> Refusal:
    """Units that are none, or too many."""
    return refusal_of(Complaint(Code.INVALID_UNITS, "units", message))
