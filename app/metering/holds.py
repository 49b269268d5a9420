"""What becomes of the holders of gauges, as the ledger notes it."""

from uuid import UUID

import msgspec


class HoldChange(msgspec.Struct, frozen=True):
    """What became of one holder of a gauge, as the stream tells it. Moments in microseconds."""

    environment_id: UUID
    account_id: UUID
    feature_key: str
    holder: str
    units: int
    """0 = it holds nothing any more."""
    expires_at: int | None
    changed_at: int
    """Accepted time of the entry."""
