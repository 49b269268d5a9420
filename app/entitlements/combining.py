"""What a customer's subscriptions come to, pure: which of them count, and what base plan and add-ons say together."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from app.rules.credits import MAX_BALANCE_MICRO
from app.rules.entitlement import FeatureKind, Standing, standing_of
from app.rules.lifecycle import State
from app.rules.periods import Period
from app.rules.pricing import Rate
from app.rules.terms import PlanKind
from app.wire.snapshot import FeatureTerms

NO_SUBSCRIPTION = "none"
MAX_LIMIT_MICRO = MAX_BALANCE_MICRO
"""Where counters stand still (`count_used` in app/wire/scripts/common.lua): no limit may lie beyond."""
UNLIMITED = "null"
"""The value of a gauge without a cap."""


class InForce(msgspec.Struct, frozen=True):
    """A subscription that has begun and has not ended."""

    version_id: UUID
    plan_kind: PlanKind
    state: State
    counted: Period
    """From where units are counted to the end of its period, which may be past."""
    allow_usage_while_overdue: bool = False
    usable_while_paused: bool = False

    @property
    def standing(self) -> Standing:
        """Whether what it gives can be used."""
        return standing_of(
            self.state,
            usable_while_paused=self.usable_while_paused,
            allow_usage_while_overdue=self.allow_usage_while_overdue,
        )


class Subscribed(msgspec.Struct, frozen=True):
    """What a customer is subscribed to: a base plan or none, and the versions of the add-ons that count."""

    base: InForce | None = None
    addon_versions: tuple[UUID, ...] = ()
    """In the order of subscribing."""

    @property
    def status(self) -> str:
        """As it is published."""
        return NO_SUBSCRIPTION if self.base is None else self.base.state

    @property
    def standing(self) -> Standing:
        """The base's: add-ons go with it. Without one it is in order."""
        return Standing.OK if self.base is None else self.base.standing


NOT_SUBSCRIBED = Subscribed()


def subscribed_to(subscriptions: Sequence[InForce]) -> Subscribed:
    """Which of a customer's subscriptions count; they come in the order of subscribing.

    An add-on that is paused gives nothing, nor does one that is overdue, unless its version allows that.
    """
    bases = [found for found in subscriptions if found.plan_kind is PlanKind.BASE]
    addons = [found for found in subscriptions if found.plan_kind is PlanKind.ADDON]
    counting = (found for found in addons if found.state is not State.PAUSED and found.standing is Standing.OK)
    return Subscribed(bases[0] if bases else None, tuple(addon.version_id for addon in counting))


def combine_features(
    base: dict[str, FeatureTerms], addons: Sequence[Mapping[str, FeatureTerms]]
) -> dict[str, FeatureTerms]:
    """All features by key, as the base and the add-ons say together; `base` itself stays as it is, others share it."""
    if not addons:
        return base
    return {
        key: combine_terms(terms, [addon[key] for addon in addons if addon[key].included])
        for key, terms in base.items()
    }


def combine_terms(base: FeatureTerms, additions: Sequence[FeatureTerms]) -> FeatureTerms:
    """The terms of one feature. `additions` are of the add-ons that include it, in the order of subscribing.

    Limits and caps add up, a switch that is on somewhere is on. Price and overage stay the base's where the base
    includes the feature; else they are, as any other value is, those of the add-on that was subscribed last.
    """
    if not additions:
        return base
    parts = [base, *additions] if base.included else list(additions)
    leading = parts[0] if base.included else parts[-1]
    return msgspec.structs.replace(
        leading,
        included=True,
        rates=leading.rates or _last_rates(parts),
        limit_units_micro=_sum_of_limits([part.limit_units_micro for part in parts]),
        value=_value_of(base.kind, [part.value for part in parts if part.value is not None]),
    )


def _last_rates(parts: Sequence[FeatureTerms]) -> list[Rate]:
    return next((part.rates for part in reversed(parts) if part.rates), parts[-1].rates)


def _sum_of_limits(limits: Sequence[int | None]) -> int | None:
    """No limit anywhere is none."""
    known = [limit for limit in limits if limit is not None]
    return min(sum(known), MAX_LIMIT_MICRO) if len(known) == len(limits) else None


def _value_of(kind: FeatureKind, values: Sequence[str]) -> str | None:
    """The values of all, as JSON, as one; none where nobody has one."""
    if not values:
        return None
    match kind:
        case FeatureKind.BOOLEAN:
            return "true" if "true" in values else "false"
        case FeatureKind.GAUGE:
            return UNLIMITED if UNLIMITED in values else str(sum(map(int, values)))
        case FeatureKind.STATIC | FeatureKind.METERED:
            return values[-1]
