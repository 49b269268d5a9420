"""Credits and units as JSON numbers of at most six decimals, never read or written through a binary fraction."""

import inspect
from decimal import Decimal
from typing import Any

from litestar.openapi.spec import OpenAPIType, Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition

from app.rules.credits import MAX_BALANCE_MICRO, MAX_COST_MICRO, NotAnAmount, from_micro, to_micro


class Amount:
    """A number of at most six decimals, kept as an integer of millionths."""

    __slots__ = ("micro",)
    maximum_micro = MAX_BALANCE_MICRO

    def __init__(self, micro: int) -> None:
        self.micro = micro

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.micro == self.micro

    def __hash__(self) -> int:
        return hash((type(self), self.micro))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({from_micro(self.micro)})"


class Credits(Amount):
    """An amount of credits, below zero for a debt."""

    __slots__ = ()


class Units(Amount):
    """Units of usage."""

    __slots__ = ()
    maximum_micro = 2**63 - 1


class UnitPrice(Amount):
    """Credits that an event or a number of units costs."""

    __slots__ = ()
    maximum_micro = MAX_COST_MICRO


def decode_amount(kind: type[Any], number: object) -> Amount:
    """The hook by which msgspec makes amounts of JSON numbers; raises NotAnAmount."""
    if not issubclass(kind, Amount):
        message = f"{kind} is not a type that bodies are made of"
        raise NotImplementedError(message)
    if isinstance(number, bool) or not isinstance(number, (int, Decimal)):
        message = f"must be a number, not {_json_name(number)}"
        raise NotAnAmount(message)
    return kind(to_micro(number, kind.maximum_micro))


def encode_amount(value: object) -> int | Decimal:
    """The hook by which msgspec writes amounts."""
    if not isinstance(value, Amount):
        message = f"{type(value)} is not a type that answers are made of"
        raise NotImplementedError(message)
    return from_micro(value.micro)


def _json_name(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


class AmountSchemas(OpenAPISchemaPlugin):
    """Says in the OpenAPI document what an amount is."""

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:  # noqa: ANN401 - Litestar asks about everything
        """Whether this plugin describes `value`."""
        return isinstance(value, type) and issubclass(value, Amount)

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: object) -> Schema:  # noqa: ARG002
        """A number; that it has at most six decimals is said in words, since validators count in binary fractions."""
        description = f"{inspect.getdoc(field_definition.annotation)} At most six decimals."
        return Schema(type=OpenAPIType.NUMBER, description=description)
