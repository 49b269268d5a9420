"""Bodies of the override routes."""

from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from app.metering.schemas import Value, show_value
from app.overrides.store import OverrideRow
from app.rules.entitlement import OveragePolicy
from app.web.amounts import CreditsFromZero, UnitLimit, amount_or_none
from app.web.fields import Moment


class OverrideTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a customer is to have of a feature; what is left out stays as the plan says.

    `included` gives a feature that the plan does not have, or takes one away that it has. `value` is for features that
    are not metered, the rest for those that are. A `limit` of null is none at all. `overage_limit` goes with the
    `overage_policy`; without it overage has no limit. From `expires_at` on the plan holds again.
    """

    included: bool | None = None
    value: Value | UnsetType = UNSET
    limit: UnitLimit | UnsetType | None = UNSET
    overage_policy: OveragePolicy | None = None
    overage_limit: CreditsFromZero | None = None
    expires_at: Moment | None = None


class OverrideBody(msgspec.Struct, frozen=True):
    """What a customer has of a feature. `value` and `limit` are there where they are set.

    One that has `expired` says nothing any more: the plan holds again.
    """

    end_user_id: str
    feature_key: str
    included: bool | None
    overage_policy: OveragePolicy | None
    overage_limit: CreditsFromZero | None
    expires_at: datetime | None
    expired: bool
    updated_at: datetime
    value: Value | UnsetType = UNSET
    limit: UnitLimit | UnsetType | None = UNSET


def show_override(end_user_id: str, feature_key: str, row: OverrideRow, now: datetime) -> OverrideBody:
    """The override as the API shows it `now`."""
    return OverrideBody(
        end_user_id=end_user_id,
        feature_key=feature_key,
        included=row.included,
        overage_policy=None if row.overage_policy is None else OveragePolicy(row.overage_policy),
        overage_limit=amount_or_none(CreditsFromZero, row.overage_limit_micro),
        expires_at=row.expires_at,
        expired=row.expires_at is not None and row.expires_at <= now,
        updated_at=row.updated_at,
        value=show_value(row.value),
        limit=amount_or_none(UnitLimit, row.limit_units_micro) if row.sets_limit else UNSET,
    )
