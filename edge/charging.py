"""What something costs: the one way by which a check, a usage event and a reservation come to their price."""

from collections.abc import Mapping
from uuid import UUID

import msgspec

from app.rules.credits import MAX_COST_MICRO, MICRO, from_micro
from app.rules.entitlement import FeatureKind, Reason
from app.rules.moments import NEVER_AT
from app.rules.pricing import GraduatedPrice, Price, Priced, choose, cost_micro
from app.wire.codes import Code
from app.wire.problem import FieldError
from app.wire.snapshot import FeatureTerms
from app.wire.tiers import pack_tiers
from edge.refusals import Refusal, invalid_field

_NO_PROPERTIES: Mapping[str, str] = {}
_object_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text_decoder = msgspec.json.Decoder(str)


class Charge(msgspec.Struct, frozen=True):
    """The price of so many units, chosen for a moment."""

    price_id: UUID
    price: Price
    units_micro: int
    until_at: int
    """From then on another price may hold."""

    @property
    def is_counted(self) -> bool:
        """Whether what was used before in the period matters."""
        return isinstance(self.price, GraduatedPrice)

    def cost_micro(self, used_micro: int = 0) -> int:
        """What it costs; `used_micro` was used before in the period, which matters where `is_counted`.

        Raises Refusal where it cannot be charged: fractions at a graduated price, or more than one event may cost.
        """
        self._require_whole()
        cost = cost_micro(self.price, self.units_micro, used_micro)
        if cost > MAX_COST_MICRO:
            raise cost_too_large(cost)
        return cost

    def tiers(self) -> bytes:
        """What Redis has to know where only Redis knows what was used before; empty = the cost is known here.

        Raises Refusal for fractions.
        """
        if not isinstance(self.price, GraduatedPrice):
            return b""
        self._require_whole()
        return pack_tiers(self.price)

    def _require_whole(self) -> None:
        if self.units_micro % MICRO and isinstance(self.price, GraduatedPrice):
            message = "must be whole: the feature has a graduated price."
            raise Refusal(Code.INVALID_UNITS, f"units {message}", errors=[FieldError("units", message)])


class Offer:
    """One feature of a snapshot: its terms, and what follows from the snapshot alone."""

    __slots__ = ("_fixed", "_matched", "is_counted", "is_gauge", "limit", "refusal", "terms", "value")

    def __init__(self, terms: FeatureTerms, refusal: Reason | None) -> None:
        self.terms = terms
        self.refusal = refusal
        """Why it may not be used."""
        self.is_gauge = terms.kind is FeatureKind.GAUGE
        self.limit = _cap(terms)
        """Of a gauge; None = there is none."""
        self.value = _shown_value(terms, refusal)
        """What a check shows."""
        self.is_counted = terms.is_counted
        self._matched = frozenset(name for rate in terms.rates for name in rate.match)
        self._fixed = _only_price(terms)

    def charge(self, units_micro: int, properties: str | None, at: int) -> Charge:
        """What so many units cost at a moment, where `properties` is the text of a JSON object.

        Only of a feature with a price. Raises Refusal where the properties decide and cannot be read.
        """
        chosen = self._fixed or choose(self.terms.rates, self._read(properties), at)
        return Charge(chosen.price_id, chosen.price, units_micro, chosen.until_at)

    def _read(self, properties: str | None) -> Mapping[str, str]:
        """Those properties that prices ask for and that are texts; others match nothing."""
        if properties is None or not self._matched:
            return _NO_PROPERTIES
        try:
            members = _object_decoder.decode(properties)
            found = ((name, bytes(members[name])) for name in self._matched & members.keys())
            return {name: _text_decoder.decode(raw) for name, raw in found if raw[:1] == b'"'}
        except (msgspec.MsgspecError, RecursionError):
            raise invalid_field("properties", "cannot be read") from None


def _cap(terms: FeatureTerms) -> int | None:
    is_known = terms.kind is FeatureKind.GAUGE and terms.value is not None
    return msgspec.json.decode(terms.value or "null", type=int | None) if is_known else None


def _shown_value(terms: FeatureTerms, refusal: Reason | None) -> msgspec.Raw | None:
    """Whether a switch is on; the value of a static feature, where it may be used."""
    match terms.kind:
        case FeatureKind.BOOLEAN:
            return msgspec.Raw(b"true" if refusal is None else b"false")
        case FeatureKind.STATIC if refusal is None and terms.value is not None:
            return msgspec.Raw(terms.value.encode())
        case _:
            return None


def _only_price(terms: FeatureTerms) -> Priced | None:
    """The price of a feature that has one for everybody, with no other to come: nothing is to be chosen."""
    if len(terms.rates) == 1 and len(terms.rates[0].versions) == 1:
        version = terms.rates[0].versions[0]
        return Priced(version.price_id, version.price, NEVER_AT)
    return None


def cost_too_large(cost: int) -> Refusal:
    """An event that would cost more than one event may."""
    detail = f"This would cost {from_micro(cost)} credits; one event may cost {from_micro(MAX_COST_MICRO)}."
    return Refusal(Code.COST_TOO_LARGE, detail, context={"cost": from_micro(cost)})
