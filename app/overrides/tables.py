"""Tables of the domain, as Piccolo queries them. The truth is migrations/sql; a test compares the two."""

from piccolo.columns import UUID, BigInt, Boolean, Text, Timestamptz
from piccolo.table import Table

from app.io.postgres import ENGINE


class Override(Table, tablename="overrides", db=ENGINE):
    """What a customer has of a feature. Its key is the pair with the customer; Piccolo wants one column."""

    environment_id = UUID(default=None)
    customer_id = UUID(default=None)
    feature_id = UUID(primary_key=True, default=None)
    included = Boolean(null=True, default=None)
    value = Text(null=True, default=None)
    sets_limit = Boolean(default=False)
    limit_units_micro = BigInt(null=True, default=None)
    overage_policy = Text(null=True, default=None)
    overage_limit_micro = BigInt(null=True, default=None)
    expires_at = Timestamptz(null=True, default=None)
    updated_at = Timestamptz(default=None)
