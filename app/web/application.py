"""What every Litestar application of ours is made with."""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote
from weakref import WeakKeyDictionary

from litestar import Litestar, Request
from litestar.datastructures import State
from litestar.di import Provide
from litestar.handlers import BaseRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.types import ControllerRouterHandler

from app.errors import ServiceError, invalid_value
from app.web.amounts import AmountSchemas
from app.web.bodies import MAX_BODY_BYTES, ExactResponse, StrictRequest
from app.web.problems import EXCEPTION_HANDLERS
from app.wire.codes import Code
from app.wire.problem import FieldError

ANY_QUERY = "any_query"
"""Key of a handler's `opt`: its query is checked elsewhere."""
_known_query_names: WeakKeyDictionary[BaseRouteHandler, frozenset[str]] = WeakKeyDictionary()
"""Of each handler; it goes with its application."""
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
        _refuse_unknown(set(request.query_params) - _query_names(handler))
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
        errors = [FieldError(name, "is not a parameter of this route") for name in sorted(names)]
        detail = f"{', '.join(sorted(names))}: not a parameter of this route."
        raise ServiceError(Code.UNKNOWN_FIELD, detail, errors=errors)


def _query_names(handler: BaseRouteHandler) -> frozenset[str]:
    """Names under which arguments of the handler and of what it depends on stand in a query."""
    if (known := _known_query_names.get(handler)) is not None:
        return known
    dependencies = handler.resolve_dependencies()
    names: set[str] = set()
    waiting = [handler.parsed_fn_signature]
    while waiting:
        for name, field in waiting.pop().parameters.items():
            if name in dependencies:
                waiting.append(dependencies[name].parsed_fn_signature)
            else:
                names.add(getattr(field.kwarg_definition, "name", None) or name)
    _known_query_names[handler] = frozenset(names)
    return _known_query_names[handler]
