"""What a route takes beside its body: arguments of its handler, and of what the handler depends on."""

from collections.abc import Mapping
from weakref import WeakKeyDictionary

from litestar.handlers import BaseRouteHandler
from litestar.typing import FieldDefinition

_known: WeakKeyDictionary[BaseRouteHandler, Mapping[str, FieldDefinition]] = WeakKeyDictionary()
"""Of each handler; it goes with its application."""


def parameters_of(handler: BaseRouteHandler) -> Mapping[str, FieldDefinition]:
    """By the names of the arguments."""
    if (known := _known.get(handler)) is not None:
        return known
    dependencies = handler.resolve_dependencies()
    found: dict[str, FieldDefinition] = {}
    waiting = [handler.parsed_fn_signature]
    while waiting:
        for name, field in waiting.pop().parameters.items():
            if name in dependencies:
                waiting.append(dependencies[name].parsed_fn_signature)
            else:
                found[name] = field
    _known[handler] = found
    return found


def sent_name(name: str, field: FieldDefinition | None) -> str:
    """What clients call an argument."""
    return getattr(None if field is None else field.kwarg_definition, "name", None) or name
