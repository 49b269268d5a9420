"""What every Litestar application of ours is made with."""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from litestar import Litestar, Request
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.types import ControllerRouterHandler

from app.errors import ServiceError, invalid_value
from app.web.amounts import AmountSchemas
from app.web.bodies import MAX_BODY_BYTES, ExactResponse, StrictRequest
from app.web.parameters import parameters_of, sent_name
from app.web.problems import EXCEPTION_HANDLERS
from app.wire.codes import Code
from app.wire.complaints import MAX_SHOWN_NAME, UNKNOWN_PARAMETER, sentence
from app.wire.problem import FieldError

ANY_QUERY = "any_query"
"""Key of a handler's `opt`: its query is checked elsewhere."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def make_application(
    handlers: Sequence[ControllerRouterHandler],
    state: dict[str, Any],
    *,
    dependencies: dict[str, Provide] | None = None,
    openapi: OpenAPIConfig | None = None,
) -> Litestar:
    """A Litestar application that is strict in what it takes and answers problems with problem documents."""
    return Litestar(
        handlers,
        state=State(state),
        dependencies=dependencies,
        openapi_config=openapi,
        plugins=[AmountSchemas()],
        request_class=StrictRequest,
        response_class=ExactResponse,
        exception_handlers=EXCEPTION_HANDLERS,
        before_request=check_parameters,
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,
        debug=False,
    )


async def check_parameters(request: Request[Any, Any, Any]) -> None:
    """Decode the parameters of the path, and refuse what no route could use.

    The path is matched as it was sent (see `app.web.outer`), so that an encoded slash stays inside its parameter.
    """
    path_params = {name: _unquote(name, text) for name, text in request.path_params.items()}
    request.scope["path_params"] = path_params
    handler = request.route_handler
    if not handler.opt.get(ANY_QUERY):
        known = {sent_name(*parameter) for parameter in parameters_of(handler).items()}
        _refuse_unknown(set(request.query_params) - known)
        for name, text in (*path_params.items(), *request.query_params.multi_items()):
            if _CONTROL.search(text):
                raise invalid_value(name, "must not hold control characters")


def _unquote(name: str, text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise invalid_value(name, "must be percent-encoded UTF-8") from error


def _refuse_unknown(names: set[str]) -> None:
    """A misspelt filter would answer what nobody asked."""
    if names:
        errors = [FieldError(name[:MAX_SHOWN_NAME], UNKNOWN_PARAMETER) for name in sorted(names)]
        raise ServiceError(Code.UNKNOWN_FIELD, sentence(errors), errors=errors)
