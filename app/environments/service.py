"""What is set for an environment, and who asks for it."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from msgspec import UNSET

from app.environments import store
from app.environments.schemas import EnvironmentChange, parse_free_variant, parse_thresholds
from app.environments.store import FreePlan, Settings
from app.errors import invalid_value
from app.io.postgres import Transaction
from app.plans import service as plans
from app.plans.checking import why_not_free
from app.rules.terms import BillingMode, PlanKind


async def read_settings(tx: Transaction) -> Settings:
    """What is set for the environment."""
    return await store.read_settings(tx)


async def list_free_plans(tx: Transaction, environment_ids: Collection[UUID]) -> dict[UUID, FreePlan]:
    """The free plans of environments, each at its present version; one that has none is left out."""
    return await store.list_free_plans(tx, environment_ids)


async def change_settings(tx: Transaction, change: EnvironmentChange, now: datetime) -> tuple[Settings, Settings]:
    """What was set until now, and what is from now on.

    Raises ServiceError: INVALID_VALUE, NOT_FOUND for a variant that there is not.
    """
    before = await store.lock_settings(tx, now)
    settings = _changed(before, change)
    if settings.auto_enroll and settings.free_variant_id is None:
        raise invalid_value("auto_enroll", "needs a free plan: send free_plan_variant_id too, or set it to false")
    if settings.free_variant_id is not None and change.free_plan_variant_id is not UNSET:
        await _require_free(tx, settings.free_variant_id)
    await store.update_settings(tx, settings, now)
    return before, settings


def _changed(settings: Settings, change: EnvironmentChange) -> Settings:
    free_variant_id = settings.free_variant_id
    if change.free_plan_variant_id is not UNSET:
        asked = change.free_plan_variant_id
        free_variant_id = None if asked is None else parse_free_variant(asked)
    return Settings(
        free_variant_id=free_variant_id,
        auto_enroll=settings.auto_enroll if change.auto_enroll is UNSET else change.auto_enroll,
        thresholds=settings.thresholds if change.thresholds is UNSET else parse_thresholds(change.thresholds),
    )


async def _require_free(tx: Transaction, variant_id: UUID) -> None:
    """Whether the variant can be the free plan. No other version of it is published meanwhile."""
    variant = await plans.hold_variant(tx, variant_id)
    why = why_not_free(PlanKind(variant.plan_kind), BillingMode(variant.billing_mode), variant.trial_days)
    if why is not None:
        of_variant = f"{variant.key!r} of the plan {variant.plan_key!r}"
        message = f"cannot be {of_variant}, version {variant.version}: its {why.term} {why.message}"
        raise invalid_value("free_plan_variant_id", message)
