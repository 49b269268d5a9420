"""Setting and taking away what one customer has of a feature."""

from datetime import UTC, datetime
from uuid import UUID

from msgspec import UNSET

from app.customers import service as customers
from app.errors import ServiceError, invalid_value
from app.io.postgres import Transaction
from app.metering import service as metering
from app.metering.schemas import parse_value
from app.metering.tables import Feature
from app.overrides import store
from app.overrides.schemas import OverrideBody, OverrideTerms, show_override
from app.overrides.store import OverrideRow
from app.rules.entitlement import FeatureKind, OveragePolicy
from app.trail import audit, dirty
from app.web.amounts import optional_micro
from app.web.fields import require_ahead
from app.wire.codes import Code


async def set_override(
    tx: Transaction, end_user_id: str, feature_key: str, terms: OverrideTerms, now: datetime
) -> OverrideBody:
    """What the customer has of the feature from now on, in place of what they had before of their own.

    Raises ServiceError: UNKNOWN_CUSTOMER, UNKNOWN_FEATURE, INVALID_VALUE, FEATURE_NOT_METERED for a limit or a policy.
    """
    check_terms(terms, now)
    customer_id, feature = await _find(tx, end_user_id, feature_key, now)
    row = _row_of(feature, customer_id, terms, now)
    before = await store.lock_override(tx, customer_id, feature.id)
    await store.upsert_override(tx, row)
    dirty.mark(tx, customer_id)
    shown = None if before is None else show_override(end_user_id, feature_key, before, now)
    audit.changed(tx, "override", f"{end_user_id}/{feature_key}", before=shown)
    return show_override(end_user_id, feature_key, row, now)


async def find_override(tx: Transaction, end_user_id: str, feature_key: str, now: datetime) -> OverrideBody:
    """What the customer has of the feature. Raises ServiceError: UNKNOWN_CUSTOMER, UNKNOWN_FEATURE, NOT_FOUND."""
    customer_id, feature = await _find(tx, end_user_id, feature_key, now)
    row = await store.read_override(tx, customer_id, feature.id)
    if row is None:
        raise _none(end_user_id, feature_key)
    return show_override(end_user_id, feature_key, row, now)


async def list_overrides(
    tx: Transaction, end_user_id: str, after: str | None, limit: int, now: datetime
) -> list[OverrideBody]:
    """What the customer has of their own, by feature, after the key `after`. Raises ServiceError(UNKNOWN_CUSTOMER)."""
    customer = await customers.find_customer(tx, end_user_id)
    rows = await store.list_overrides(tx, customer.id, after, limit)
    return [show_override(end_user_id, feature_key, row, now) for feature_key, row in rows]


async def remove_override(tx: Transaction, end_user_id: str, feature_key: str, now: datetime) -> OverrideBody:
    """Let the plan hold again; the override as it was. Raises ServiceError as `find_override` does."""
    customer_id, feature = await _find(tx, end_user_id, feature_key, now)
    row = await store.delete_override(tx, customer_id, feature.id)
    if row is None:
        raise _none(end_user_id, feature_key)
    dirty.mark(tx, customer_id)
    removed = show_override(end_user_id, feature_key, row, now)
    audit.changed(tx, "override", f"{end_user_id}/{feature_key}", before=removed, after=None)
    return removed


async def _find(tx: Transaction, end_user_id: str, feature_key: str, now: datetime) -> tuple[UUID, Feature]:
    customer = await customers.find_customer(tx, end_user_id)
    feature, _ = await metering.find_feature(tx, feature_key, now)
    return customer.id, feature


def _none(end_user_id: str, feature_key: str) -> ServiceError:
    return ServiceError(Code.NOT_FOUND, f"The customer {end_user_id!r} has no override of {feature_key!r}.")


def check_terms(terms: OverrideTerms, now: datetime) -> None:
    """Whether an override can say this, of whatever feature. Raises ServiceError(INVALID_VALUE)."""
    if terms.overage_limit is not None and terms.overage_policy in (None, OveragePolicy.BLOCK):
        raise invalid_value("overage_limit", "needs the overage_policy allow or notify beside it")
    if (terms.included, terms.value, terms.limit, terms.overage_policy) == (None, UNSET, UNSET, None):
        raise invalid_value("included", "or value, limit or overage_policy has to be there: nothing is overridden")
    require_ahead("expires_at", terms.expires_at, now, "leave it out for no end")


def _row_of(feature: Feature, customer_id: UUID, terms: OverrideTerms, now: datetime) -> OverrideRow:
    kind = FeatureKind(feature.kind)
    if terms.limit is not UNSET:
        metering.require_metered(kind, feature.key, "limit")
    if terms.overage_policy is not None:
        metering.require_metered(kind, feature.key, "overage_policy")
    return OverrideRow(
        customer_id=customer_id,
        feature_id=feature.id,
        included=terms.included,
        value=None if terms.value is UNSET else parse_value(kind, terms.value, "value"),
        sets_limit=terms.limit is not UNSET,
        limit_units_micro=None if terms.limit is UNSET else optional_micro(terms.limit),
        overage_policy=None if terms.overage_policy is None else terms.overage_policy.value,
        overage_limit_micro=optional_micro(terms.overage_limit),
        expires_at=None if terms.expires_at is None else terms.expires_at.astimezone(UTC),
        updated_at=now,
    )
