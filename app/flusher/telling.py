"""Word of what a batch did to credit, reservations and usage: pure. Each is told once, for ever, by its id."""

from datetime import datetime
from uuid import UUID

import msgspec

from app.flusher.posting import Posting, RejectedEntry
from app.ledger.book import Account, Reservation
from app.rules.burndown import Block
from app.rules.moments import to_at, to_datetime
from app.trail.outbox import Announcement, EventType
from app.web.amounts import Credits
from app.wire import keys
from app.wire.events import StreamEntry, UsagePayload, show_stream_id
from app.wire.ids import derived_id, show


class CreditsExpired(msgspec.Struct, frozen=True):
    """What a webhook says of `credits.expired`: what was left of the block, and is not any more."""

    end_user_id: str
    credit_block_id: str
    amount: Credits
    source: str
    expired_at: datetime


class ReservationExpired(msgspec.Struct, frozen=True):
    """What a webhook says of `reservation.expired`: what was reserved has come back."""

    end_user_id: str
    reservation_id: str
    feature_key: str
    reserved: Credits
    opened_at: datetime
    expired_at: datetime


class ReservationCommittedLate(msgspec.Struct, frozen=True):
    """What a webhook says of `reservation.committed_late`: it had expired, so this was charged as usage."""

    end_user_id: str
    reservation_id: str
    feature_key: str
    charged: Credits
    committed_at: datetime


class UsageRejected(msgspec.Struct, frozen=True):
    """What a webhook says of `usage.rejected`; without an `event_id` not even that could be read."""

    end_user_id: str
    event_id: str | None
    code: str
    detail: str
    rejected_at: datetime


def tell_expiry(posting: Posting, account: Account, block: Block, amount_micro: int) -> None:
    """So much of a block has expired."""
    shown = show("blk", block.id)
    expired_at = to_datetime(block.expires_at)
    told = CreditsExpired(account.end_user_id, shown, Credits(amount_micro), block.source, expired_at)
    _leave(posting, account, EventType.CREDITS_EXPIRED, told, block.expires_at, block.id.hex.encode())


def tell_reservation_expired(posting: Posting, account: Account, reservation: Reservation, at: int) -> None:
    """A reservation has ended by itself."""
    told = ReservationExpired(
        end_user_id=account.end_user_id,
        reservation_id=show("rsv", reservation.id),
        feature_key=reservation.feature_key,
        reserved=Credits(reservation.reserved_micro),
        opened_at=to_datetime(reservation.opened_at),
        expired_at=to_datetime(at),
    )
    of = reservation.id.hex.encode(), b"%d" % reservation.opened_seq
    _leave(posting, account, EventType.RESERVATION_EXPIRED, told, at, *of)


def tell_committed_late(posting: Posting, account: Account, entry: StreamEntry, payload: UsagePayload) -> None:
    """A reservation that had expired was committed, and charged."""
    at = entry.accepted_at
    told = ReservationCommittedLate(
        end_user_id=account.end_user_id,
        reservation_id=show("rsv", payload.event_id),
        feature_key=payload.feature_key,
        charged=Credits(entry.cost_micro),
        committed_at=to_datetime(at),
    )
    _leave(posting, account, EventType.RESERVATION_COMMITTED_LATE, told, at, payload.event_id.hex.encode())


def tell_rejected(rejected: RejectedEntry, incarnation: UUID, now: datetime) -> Announcement | None:
    """An entry could not be posted; None where nobody can be told whose it is. What is retried in vain is told anew."""
    try:
        environment_id, end_user_id = keys.parse_account_ref(rejected.ref)
    except ValueError:
        return None
    end_user_id = end_user_id.replace("\0", "")
    shown = None if rejected.event_id is None else show("evt", rejected.event_id)
    told = UsageRejected(end_user_id, shown, rejected.code, rejected.detail, now)
    of = rejected.ref, incarnation.hex.encode(), show_stream_id(rejected.stream_id).encode()
    told_id = derived_id(EventType.USAGE_REJECTED.encode(), *of)
    return Announcement(environment_id, told_id, EventType.USAGE_REJECTED, end_user_id, told, to_at(now))


def announce(
    posting: Posting, account: Account, event_type: EventType, told: msgspec.Struct, at: int, *of: bytes
) -> None:
    """Word of what became of a subscription, or of credit that it gave."""
    told_id = derived_id(b"announced", event_type.encode(), *of, b"%d" % at)
    posting.announcements.append(
        Announcement(account.environment_id, told_id, event_type, account.end_user_id, told, at)
    )


def _leave(
    posting: Posting, account: Account, event_type: EventType, told: msgspec.Struct, at: int, *of: bytes
) -> None:
    told_id = derived_id(event_type.encode(), account.environment_id.hex.encode(), *of)
    posting.announcements.append(
        Announcement(account.environment_id, told_id, event_type, account.end_user_id, told, at)
    )
