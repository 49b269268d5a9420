"""Bodies in and out: strict, exact, and refused by name where they do not fit."""

import re
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, TypeVar

import msgspec
from litestar import Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException

from app.errors import ServiceError
from app.rules.credits import NotAnAmount
from app.web.amounts import decode_amount, encode_amount
from app.web.choices import explain
from app.web.fields import PATTERN_MEANINGS
from app.wire import complaints
from app.wire.codes import Code
from app.wire.complaints import Complaint, complaint_of
from app.wire.members import repeated_member

Body = TypeVar("Body")
JSON = "application/json"
MAX_BODY_BYTES = 1 << 20

_encoder = msgspec.json.Encoder(enc_hook=encode_amount, decimal_format="number")
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
_PATTERN = re.compile(r"Expected `str` matching regex (?P<pattern>.*)")
_POSITION = re.compile(r"\(byte (\d+)\)")


def encode(value: object) -> bytes:
    """JSON of an answer: amounts as exact numbers, moments in UTC."""
    return _encoder.encode(value)


def decode(body: bytes, kind: type[Body]) -> Body:
    """The body as a `kind`; raises ServiceError that names what is wrong and where."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind, dec_hook=decode_amount, float_hook=_read_decimal)
    try:
        found = decoder.decode(body)
        repeated = repeated_member(body)
    except msgspec.ValidationError as error:
        raise _refusal(complaint_of(str(error), partial(_explain, kind))) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        found = _POSITION.search(str(error))
        position = int(found[1]) if found else len(body)
        detail = f"The body is not valid JSON; reading stopped at byte {position}."
        raise ServiceError(Code.MALFORMED_JSON, detail, context={"position": position}) from error
    if repeated is not None:
        raise _refusal(complaints.repeated(repeated))
    return found


def _read_decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise NotAnAmount("has an exponent beyond any number") from error


def _refusal(complaint: Complaint) -> ServiceError:
    return ServiceError(complaint.code, complaint.detail, errors=complaint.errors)


def _explain(kind: Any, what: str, path: str) -> str:  # noqa: ANN401 - what is decoded
    pattern = _PATTERN.match(what)
    return explain(what, kind, path) if pattern is None else PATTERN_MEANINGS.get(pattern["pattern"], what)


class StrictRequest(Request[Any, Any, State]):
    """A request whose body is decoded to what its handler declares as `data`, and to nothing looser."""

    async def json(self) -> Any:  # noqa: ANN401 - what the handler declares
        """The body as the handler's `data`; raises ServiceError."""
        media_type, _ = self.content_type
        if media_type and media_type != JSON and not media_type.endswith("+json"):
            detail = f"The body must be JSON (Content-Type: {JSON}), not {media_type}."
            raise ServiceError(Code.UNSUPPORTED_MEDIA_TYPE, detail)
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise ServiceError(Code.UNSUPPORTED_MEDIA_TYPE, "Send the body as it is, without a Content-Encoding.")
        declared = self.route_handler.parsed_data_field
        if declared is None:
            raise HTTPException(status_code=500, detail="a body is read that no handler declares")
        return decode(await self.body(), declared.annotation)


class ExactResponse(Response[Body]):
    """A response that is written by `encode`."""

    def render(self, content: Any, media_type: str, enc_hook: Any = None) -> bytes:  # noqa: ANN401, ARG002 - Litestar's
        """The bytes of the body."""
        return content if isinstance(content, bytes) else encode(content)
