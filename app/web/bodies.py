"""Bodies in and out: strict, exact, and refused by name where they do not fit."""

import re
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn, TypeVar

import msgspec
from litestar import Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException

from app.errors import ServiceError
from app.rules.credits import NotAnAmount
from app.web.amounts import decode_amount, encode_amount
from app.web.choices import explain
from app.web.fields import PATTERN_MEANINGS
from app.wire.codes import Code
from app.wire.members import repeated_member
from app.wire.problem import FieldError

Body = TypeVar("Body")
JSON = "application/json"
MAX_BODY_BYTES = 1 << 20

_encoder = msgspec.json.Encoder(enc_hook=encode_amount, decimal_format="number")
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
_AT = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING_FIELD = re.compile(r"Object missing required field `(.*)`")
OTHER_TYPE = re.compile(r"Expected `.*`, got `.*`")
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
        _refuse(error, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        found = _POSITION.search(str(error))
        position = int(found[1]) if found else len(body)
        detail = f"The body is not valid JSON; reading stopped at byte {position}."
        raise ServiceError(Code.MALFORMED_JSON, detail, context={"position": position}) from error
    if repeated is not None:
        errors = [FieldError(repeated, "is given more than once")]
        raise ServiceError(Code.INVALID_BODY, f"{repeated} is given more than once.", errors=errors)
    return found


def _read_decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise NotAnAmount("has an exponent beyond any number") from error


def _refuse(error: msgspec.ValidationError, kind: Any) -> NoReturn:  # noqa: ANN401 - what is decoded
    matched = _AT.match(str(error))
    what, path = (matched["what"], matched["path"] or "") if matched else (str(error), "")
    if unknown := _UNKNOWN_FIELD.match(what):
        name = _join(path, unknown[1])
        errors = [FieldError(name, "is not a field of this request")]
        raise ServiceError(Code.UNKNOWN_FIELD, f"{name} is not a field of this request.", errors=errors) from error
    code = Code.INVALID_BODY
    if missing := _MISSING_FIELD.match(what):
        path, what = _join(path, missing[1]), "is required"
    elif not OTHER_TYPE.match(what):
        code, what = Code.INVALID_VALUE, explain(what, kind, path)
    if pattern := _PATTERN.match(what):
        what = PATTERN_MEANINGS.get(pattern["pattern"], what)
    errors = [FieldError(path, what)] if path else []
    raise ServiceError(code, f"{path or 'The body'}: {what}", errors=errors) from error


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


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
