"""Tables of the domain, as Piccolo queries them. The truth is migrations/sql; a test compares the two."""

from piccolo.columns import JSONB, UUID, BigInt, Integer, Text, Timestamptz
from piccolo.table import Table

from app.io.postgres import ENGINE


class Feature(Table, tablename="features", db=ENGINE):
    """What customers use and usage is counted in."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    key = Text()
    name = Text()
    kind = Text()
    default_value = Text(null=True, default=None)
    event_type = Text(null=True, default=None)
    units_from = Text(null=True, default=None)
    created_at = Timestamptz(default=None)
    limit_units_micro = BigInt(null=True, default=None)


class PriceVersion(Table, tablename="prices", db=ENGINE):
    """A version of what a feature costs: by default, or in one version of a plan variant; for all usage or some."""

    environment_id = UUID(default=None)
    id = UUID(primary_key=True, default=None)
    feature_id = UUID(default=None)
    variant_version_id = UUID(null=True, default=None)
    version = Integer()
    match = JSONB(default="{}")
    price = JSONB()
    effective_at = Timestamptz(default=None)
    created_at = Timestamptz(default=None)


class GaugeHold(Table, tablename="gauge_holds", db=ENGINE):
    """What somebody holds of a customer's gauge. Its key is account, feature and holder; Piccolo wants one column."""

    environment_id = UUID(default=None)
    account_id = UUID(default=None)
    feature_key = Text()
    holder = Text(primary_key=True)
    units = BigInt()
    expires_at = Timestamptz(null=True, default=None)
    changed_at = Timestamptz(default=None)
