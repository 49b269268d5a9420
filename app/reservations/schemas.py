"""Bodies of reservations as the ledger shows them."""

from datetime import datetime

import msgspec

from app.reservations.store import OpenRow
from app.web.amounts import Credits, Units
from app.wire.ids import show


class OpenReservationBody(msgspec.Struct, frozen=True):
    """A reservation that holds credit. `units` is null where credits were reserved."""

    reservation_id: str
    end_user_id: str
    feature_key: str
    units: Units | None
    reserved: Credits
    idempotency_key: str | None
    properties: msgspec.Raw | None
    """The JSON object as it was sent."""
    opened_at: datetime
    expires_at: datetime


def show_open(row: OpenRow, end_user_id: str) -> OpenReservationBody:
    """An open reservation as the API shows it."""
    return OpenReservationBody(
        reservation_id=show("rsv", row.id),
        end_user_id=end_user_id,
        feature_key=row.feature_key,
        units=None if row.in_credits else Units(row.units_micro),
        reserved=Credits(row.reserved_micro),
        idempotency_key=row.idempotency_key,
        properties=None if row.properties is None else msgspec.Raw(row.properties.encode()),
        opened_at=row.opened_at,
        expires_at=row.expires_at,
    )
