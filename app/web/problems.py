"""Whatever goes wrong, the answer is a problem document (RFC 9457) with a code of `wire.codes`."""

import re
from typing import Any, cast

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from app.errors import ServiceError
from app.io.redis import RedisUnavailable
from app.web.bodies import MAX_BODY_BYTES, encode
from app.web.choices import explain
from app.web.outer import request_id_of
from app.web.parameters import parameters_of, sent_name
from app.wire.codes import MEANINGS, Code
from app.wire.complaints import MISSING, NO_BODY, in_words, is_about_type, sentence
from app.wire.problem import CONTENT_TYPE, FieldError, problem
from app.wire.redaction import redact_keys

_log = structlog.get_logger(__name__)
_SERVER_ERROR = 500
_MISSING_PARAMETER = re.compile(r"Missing required \w+ parameter '(\w+)'")

_CODES_OF_STATUS = {
    401: Code.UNAUTHENTICATED,
    403: Code.MISSING_SCOPE,
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
    413: Code.BODY_TOO_LARGE,
    415: Code.UNSUPPORTED_MEDIA_TYPE,
    429: Code.TOO_MANY_REQUESTS,
}


_SOON = {Code.IDEMPOTENCY_KEY_IN_FLIGHT, Code.TOO_MANY_REQUESTS}
"""What may go well in a moment."""


def status_of(code: Code) -> int:
    """The HTTP status that belongs to a code."""
    return MEANINGS[code].status


def problem_body(error: ServiceError, request_id: str) -> bytes:
    """The document as JSON; of an API key that was sent in a wrong place it shows the beginning."""
    document = problem(
        error.code, error.detail, request_id, errors=error.errors, mismatch=error.mismatch, context=error.context
    )
    return redact_keys(encode(document))


def headers_of(error: ServiceError) -> dict[str, str]:
    """What the client's library has to know beside the document."""
    status = status_of(error.code)
    if status == status_of(Code.UNAUTHENTICATED):
        return {"WWW-Authenticate": 'Bearer realm="quotastack"'}
    if status == status_of(Code.STORE_UNAVAILABLE) or error.code in _SOON:
        return {"Retry-After": str(error.retry_after_seconds)}
    return {}


def answer_service_error(request: Request[Any, Any, Any], error: ServiceError) -> Response[bytes]:
    """The answer to a request that a service refused."""
    status = status_of(error.code)
    if status >= _SERVER_ERROR:
        _log.warning("unavailable", code=error.code, cause=repr(error.__cause__))
    return Response(
        problem_body(error, request_id_of(request.scope)),
        status_code=status,
        media_type=CONTENT_TYPE,
        headers=headers_of(error),
    )


def _answer_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    if error.status_code >= _SERVER_ERROR:
        return _answer_unexpected(request, error)
    response = answer_service_error(request, _translate(request, error))
    for name, value in (error.headers or {}).items():
        response.set_header(name, value)
    return response


def _translate(request: Request[Any, Any, Any], error: HTTPException) -> ServiceError:
    code = _CODES_OF_STATUS.get(error.status_code, Code.MALFORMED_REQUEST)
    if isinstance(error, ValidationException):
        return _of_validation(request, error)
    if code is Code.NOT_FOUND:
        return ServiceError(
            code, f"There is no route {request.url.path}; /docs explains the API, and /docs/api lists it."
        )
    if code is Code.METHOD_NOT_ALLOWED:
        return ServiceError(code, f"{request.url.path} does not take {request.method}.")
    if code is Code.BODY_TOO_LARGE:
        return ServiceError(code, f"The body may have at most {MAX_BODY_BYTES} bytes.")
    return ServiceError(code, error.detail)


def _of_validation(request: Request[Any, Any, Any], error: ValidationException) -> ServiceError:
    """What Litestar itself checks: whether there is a body, and the parameters of path and query."""
    found = cast("list[dict[str, str]]", error.extra) if isinstance(error.extra, list) else []
    if any(entry.get("key", "").startswith("data") for entry in found):
        return ServiceError(Code.INVALID_BODY, NO_BODY)
    if missing := _MISSING_PARAMETER.match(error.detail):
        errors = [FieldError(missing[1], MISSING)]
        return ServiceError(Code.INVALID_BODY, sentence(errors), errors=errors)
    errors = [_of_parameter(request, entry.get("key", ""), entry.get("message", "")) for entry in found]
    is_form = any(is_about_type(entry.get("message", "")) for entry in found)
    detail = sentence(errors) if errors else error.detail
    return ServiceError(Code.INVALID_BODY if is_form else Code.INVALID_VALUE, detail, errors=errors)


def _of_parameter(request: Request[Any, Any, Any], name: str, message: str) -> FieldError:
    """What is wrong with an argument, by the name that clients have for it."""
    field = parameters_of(request.route_handler).get(name)
    explained = message if field is None else explain(message, field.annotation)
    return FieldError(sent_name(name, field), in_words(explained))


def _answer_redis(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    unavailable = ServiceError(Code.STORE_UNAVAILABLE, "Redis does not answer at this moment. Try again.")
    unavailable.__cause__ = error
    return answer_service_error(request, unavailable)


def _answer_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    _log.error("unexpected_error", path=request.url.path, exc_info=error)
    detail = "Something went wrong on our side. It has been logged under this request's id."
    return Response(
        problem_body(ServiceError(Code.INTERNAL_ERROR, detail), request_id_of(request.scope)),
        status_code=status_of(Code.INTERNAL_ERROR),
        media_type=CONTENT_TYPE,
    )


EXCEPTION_HANDLERS: dict[int | type[Exception], Any] = {
    ServiceError: answer_service_error,
    HTTPException: _answer_http_exception,
    RedisUnavailable: _answer_redis,
    Exception: _answer_unexpected,
}
