"""Credits and units as JSON numbers of at most six decimals, never read or written through a binary fraction."""

import inspect
import re
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from litestar.openapi.spec import OpenAPIType, Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition

from app.errors import invalid_value
from app.rules.credits import ABOVE_ZERO, MAX_BALANCE_MICRO, MAX_COST_MICRO, NotAnAmount, from_micro, to_micro
from app.wire.complaints import wrong_type

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_MAX_NUMBER_CHARACTERS = 40
Kind = TypeVar("Kind", bound="Amount")


class Amount:
    """A number of at most six decimals, kept as an integer of millionths."""

    __slots__ = ("micro",)
    maximum_micro = MAX_BALANCE_MICRO
    minimum_micro: int | None = None
    """None = as far below zero as above."""

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


class CreditsAboveZero(Credits):
    """An amount of credits, above 0."""

    __slots__ = ()
    minimum_micro = ABOVE_ZERO


class CreditsFromZero(Credits):
    """An amount of credits, 0 or more."""

    __slots__ = ()
    minimum_micro = 0


class Units(Amount):
    """Units of usage."""

    __slots__ = ()
    maximum_micro = 2**63 - 1


class UnitLimit(Amount):
    """The most units that may be used in a period, 0 or more."""

    __slots__ = ()
    minimum_micro = 0


class UnitPrice(Amount):
    """Credits that an event or a number of units costs."""

    __slots__ = ()
    maximum_micro = MAX_COST_MICRO
    minimum_micro = 0


def decode_amount(kind: type[Any], number: object) -> Amount:
    """The hook by which msgspec makes amounts of JSON numbers; raises NotAnAmount."""
    if not issubclass(kind, Amount):
        message = f"{kind} is not a type that bodies are made of"
        raise NotImplementedError(message)
    if isinstance(number, bool) or not isinstance(number, (int, Decimal)):
        raise NotAnAmount(wrong_type("number", number))
    return kind(to_micro(number, kind.maximum_micro, kind.minimum_micro))


def read_credits(name: str, text: str) -> CreditsFromZero:
    """An amount of credits, 0 or more, from the parameter `name` of a query, in the form of a JSON number.

    Raises ServiceError(INVALID_VALUE).
    """
    if len(text) > _MAX_NUMBER_CHARACTERS or not _NUMBER.fullmatch(text):
        raise invalid_value(name, f"must be a number such as 12.5, of at most {_MAX_NUMBER_CHARACTERS} characters")
    try:
        kind = CreditsFromZero
        return kind(to_micro(Decimal(text), kind.maximum_micro, kind.minimum_micro))
    except NotAnAmount as error:
        raise invalid_value(name, str(error)) from error
    except InvalidOperation as error:
        raise invalid_value(name, "has an exponent beyond any number") from error


def optional_micro(amount: Amount | None) -> int | None:
    """The millionths of an amount that may not be given."""
    return None if amount is None else amount.micro


def amount_or_none(kind: type[Kind], micro: int | None) -> Kind | None:
    """An amount that there may not be."""
    return None if micro is None else kind(micro)


def encode_amount(value: object) -> int | Decimal:
    """The hook by which msgspec writes amounts."""
    if not isinstance(value, Amount):
        message = f"{type(value)} is not a type that answers are made of"
        raise NotImplementedError(message)
    return from_micro(value.micro)


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
