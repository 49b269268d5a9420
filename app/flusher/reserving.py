"""What becomes of reservations: pure, on the working copies of the batch.

An opening draws like usage and keeps what it drew; the end uses that first, draws what is above it, and gives the rest
back. Its entry's cost is the edge's matter: what an end does is decided here, by what was really drawn.
"""

from uuid import UUID

from msgspec.structs import replace

from app.flusher import falling_due, telling, tied_credit
from app.flusher.counting import count
from app.flusher.grouping import UsageGroup
from app.flusher.posting import FLUSHER, Posting, by_hour
from app.ledger.book import DEBT, Account, Lines, Origin, PostedEvent, Reservation, reserved_account
from app.ledger.returning import Drawn, Giving, end_of, give_back, merged
from app.ledger.targets import Targets
from app.rules import burndown, chain
from app.rules.moments import NEVER_AT
from app.wire.events import StreamEntry, UsagePayload
from app.wire.reservations import ReservationEnd, ReservationExtension, ReservationOpening, ReservationState


def post_change(
    posting: Posting,
    group: UsageGroup,
    entry: StreamEntry,
    targets: Targets,
    posted_ids: set[tuple[UUID, UUID]],
) -> None:
    """Open, extend or end a reservation, once; what the ledger has already changes nothing.

    One that has ended is opened again where its key came again after Redis had forgotten it: it holds credit once more.
    Such an opening is dated after everything that came before, so it is no entry that is read again. A commit is an
    event with the reservation's id, so a key is charged once, for ever: where the ledger has that event, an end gives
    everything back.
    """
    account, change = group.account, entry.reservation
    if change is None:
        return
    known = targets.reservations.get(change.reservation_id)
    is_charged = (account.environment_id, change.reservation_id) in posted_ids
    if known is not None and known.account_id != account.id:
        posting.duplicates += 1  # no script leaves this, and it must not move what is another's
        return
    match change:
        case ReservationOpening() if known is None or (known.ended_at or NEVER_AT) < entry.accepted_at:
            _begin(posting, group, entry)
            _note(posting, targets, _open(posting, account, entry, change))
        case ReservationExtension() if known is not None and known.is_open and known.opened_at <= entry.accepted_at:
            _begin(posting, group, entry)
            _note(posting, targets, replace(known, expires_at=max(known.expires_at, change.expires_at)))
        case ReservationEnd() if known is not None and known.is_open and known.opened_at <= entry.accepted_at:
            _begin(posting, group, entry)
            is_again = is_charged and change.state is ReservationState.COMMITTED
            end = replace(change, state=ReservationState.RELEASED) if is_again else change
            _note(posting, targets, _end(posting, account, entry, end, targets))
            if end.state is ReservationState.EXPIRED:
                telling.tell_reservation_expired(posting, account, known, entry.accepted_at)
            group.next_boundary_at = account.next_boundary()
            if end.state is ReservationState.COMMITTED:
                posted_ids.add((account.environment_id, change.reservation_id))
        case ReservationEnd() if known is None and change.price_id is not None and not is_charged:
            posted_ids.add((account.environment_id, change.reservation_id))
            _pay_debt(posting, group, entry)
            payload = UsagePayload(
                change.reservation_id, change.feature_key, change.units_micro, change.price_id, None, None, None
            )
            group.add(posting, replace(entry, cost_micro=change.used_micro), payload)
            if entry.period_at is not None:
                posting.counted.append(count(account, change.feature_key, entry.period_at, change.units_micro))
        case _:
            posting.duplicates += 1


def _pay_debt(posting: Posting, group: UsageGroup, entry: StreamEntry) -> None:
    falling_due.settle(posting, group, entry.accepted_at, entry.revision)


def _begin(posting: Posting, group: UsageGroup, entry: StreamEntry) -> None:
    """A reservation's postings are transactions of their own: what has gathered goes before them."""
    _pay_debt(posting, group, entry)
    group.close(posting)


def _note(posting: Posting, targets: Targets, reservation: Reservation) -> None:
    targets.reservations[reservation.id] = reservation
    posting.reservations[reservation.id, reservation.opened_seq] = reservation


def _open(posting: Posting, account: Account, entry: StreamEntry, opening: ReservationOpening) -> Reservation:
    drawn, lines = _draw(posting, account, entry, entry.cost_micro)
    reservation = Reservation(
        account.environment_id,
        account.id,
        opening.reservation_id,
        opening.feature_key,
        opening.in_credits,
        opening.units_micro,
        entry.cost_micro,
        drawn.debt_micro,
        drawn.show(),
        opening.price_id,
        opening.idempotency_key,
        opening.properties,
        entry.period_at,
        entry.accepted_at,
        account.seq + 1,
        opening.expires_at,
    )
    lines.append((reserved_account(reservation.id), entry.cost_micro))
    origin = Origin(FLUSHER.actor, None, opening.idempotency_key)
    digest = chain.reservation_digest(reservation.chained())
    posting.transactions.append(
        account.post("reservation_opened", merged(lines), entry.accepted_at, origin, events_digest=digest)
    )
    account.reserved_micro += entry.cost_micro
    account.open_reservations += 1
    if entry.period_at is not None:
        posting.counted.append(count(account, opening.feature_key, entry.period_at, opening.units_micro))
    return reservation


def _draw(posting: Posting, account: Account, entry: StreamEntry, amount_micro: int) -> tuple[Drawn, Lines]:
    """Take an amount from what the entry's edge knew of; the rest is owed."""
    draws, debt_micro = burndown.plan_draws(account.blocks, amount_micro, entry.accepted_at, entry.revision)
    account.debt_micro += debt_micro
    lines = [*falling_due.take(posting, account, draws), (DEBT, -debt_micro)]
    return Drawn([(draw.block.id, draw.amount_micro) for draw in draws], debt_micro), lines


def _end(
    posting: Posting,
    account: Account,
    entry: StreamEntry,
    end: ReservationEnd,
    targets: Targets,
) -> Reservation:
    """What was used goes to what it was used for, the rest of what was reserved back to where it came from."""
    reservation, at = targets.reservations[end.reservation_id], entry.accepted_at
    is_commit = end.state is ReservationState.COMMITTED
    used_micro = end.used_micro if is_commit else 0
    used, rest = Drawn(reservation.parsed_draws(), reservation.debt_micro).split(used_micro)
    more, lines = _draw(posting, account, entry, max(0, used_micro - reservation.reserved_micro))
    back = give_back(account, rest, targets, Giving(at, entry.revision, end_of(reservation)))
    head: Lines = [
        (reserved_account(reservation.id), -reservation.reserved_micro),
        (f"consumed:{reservation.feature_key}", used_micro),
    ]
    events = [_event(account, entry, reservation, end, used.joined(more))] if is_commit else []
    digest = chain.events_digest([event.chained() for event in events]) if events else None
    lines = merged([*head, *lines, *back.lines])
    posting.transactions.append(
        account.post(f"reservation_{end.state.value}", lines, at, FLUSHER, events_digest=digest)
    )
    posting.events += events
    posting.used += by_hour(account, events)
    tied_credit.change_blocks(posting, account, back.blocks)
    account.reserved_micro -= reservation.reserved_micro
    account.open_reservations -= 1
    _count_end(posting, account, entry, reservation, end)
    return replace(reservation, state=end.state, used_micro=used_micro, ended_at=at, ended_seq=account.seq)


def _count_end(
    posting: Posting, account: Account, entry: StreamEntry, reservation: Reservation, end: ReservationEnd
) -> None:
    """What was reserved counts no more in the period of its opening; what was used counts in the present one."""
    feature_key = reservation.feature_key
    if reservation.period_at is not None:
        posting.counted.append(count(account, feature_key, reservation.period_at, -reservation.units_micro))
    if entry.period_at is not None and end.state is ReservationState.COMMITTED:
        posting.counted.append(count(account, feature_key, entry.period_at, end.units_micro))


def _event(
    account: Account, entry: StreamEntry, reservation: Reservation, end: ReservationEnd, used: Drawn
) -> PostedEvent:
    """The commit as an event like any other, under the reservation's id; what it was priced with was pinned."""
    return PostedEvent(
        account.environment_id,
        account.id,
        account.seq + 1,
        reservation.id,
        reservation.feature_key,
        end.units_micro,
        end.used_micro,
        used.debt_micro,
        used.show(),
        reservation.price_id,
        reservation.idempotency_key,
        reservation.properties,
        entry.accepted_at,
        entry.accepted_at,
        entry.period_at,
    )
