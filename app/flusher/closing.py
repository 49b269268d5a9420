"""What was used in the periods that a batch closes, summed up once the batch is written.

Usage is kept by hour, and a period begins and ends within one. So what had been used in the hour in which a period
begins is remembered with the subscription, and taken from the sum when the period is over; what the batch itself holds
of the time after is taken from it too. An event that is voided when its period is closed is not in the hour's sum any
more, so it is taken from what is remembered: the next period has used no less for it.
"""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from uuid import UUID

from app.flusher.posting import Posting, TakenBack, TurnedPeriod
from app.io.postgres import Transaction
from app.ledger import store as ledger_store
from app.ledger.book import UsedInHour
from app.rules.moments import hour_of
from app.subscriptions.book import UsedSoFar
from app.subscriptions.schemas import show_used

Sums = dict[str, list[int]]
"""By feature: micro-units, micro-credits, events."""


async def close_periods(tx: Transaction, posting: Posting) -> None:
    """Sum up the usage of closed periods, where it is to be shown, and remember where the next ones begin."""
    turned, taken = posting.turned_periods, deque(posting.taken_back)
    begun_at = {each.kept.id: each.since_at for each in reversed(turned)}
    """Where the present periods began, as the batch goes on."""
    if turned:
        await _close(tx, posting, taken, begun_at)
    for voided in taken:
        _take_back(posting, voided, begun_at)
    changed = [kept for customer in posting.customers.values() for kept in customer.changed.values()]
    for kept in changed:
        if kept.is_terminal:
            kept.used_before = []  # no period of it is to be closed


async def _close(tx: Transaction, posting: Posting, taken: deque[TakenBack], begun_at: dict[UUID, int]) -> None:
    """The same; of what was voided the rest is left that was so after the last of them."""
    turned = posting.turned_periods
    sums = await ledger_store.sum_hours_since(
        tx,
        [(each.account.environment_id, each.account.id, hour_of(each.since_at)) for each in turned]
        + [(each.account.environment_id, each.account.id, hour_of(each.at)) for each in turned],
    )
    since, at = sums[: len(turned)], sums[len(turned) :]
    for each, used, begun in zip(turned, since, at, strict=True):
        while taken and taken[0].used < each.used:
            _take_back(posting, taken.popleft(), begun_at)
        if each.closed is not None:
            whole = _before(each, used, posting.used, each.since_at)
            each.closed.usage = [show_used(so_far) for so_far in _less(whole, each.kept.used_before)]
        each.kept.used_before = _shown(_before(each, begun, posting.used, each.at))
        begun_at[each.kept.id] = each.at


def _take_back(posting: Posting, taken: TakenBack, begun_at: Mapping[UUID, int]) -> None:
    """Where the event is of the time before the present period, but in its sums, it is remembered no more."""
    customer, event = posting.customers[taken.account_id], taken.event
    for kept in customer.subscriptions:
        since_at = begun_at.get(kept.id, None if kept.is_terminal else kept.counted_from)
        if since_at is not None and hour_of(since_at) <= hour_of(event.occurred_at) and event.accepted_at < since_at:
            before: Sums = {
                used.feature_key: [used.units_micro, used.cost_micro, used.events] for used in kept.used_before
            }
            kept.used_before = _less(before, [UsedSoFar(event.feature_key, event.units_micro, event.cost_micro, 1)])
            customer.changed[kept.id] = kept


def _before(turned: TurnedPeriod, sums: Sums, used: Sequence[UsedInHour], since_at: int) -> Sums:
    """The sums without what the batch holds of the time after the period."""
    left: Sums = defaultdict(lambda: [0, 0, 0], {key: [*values] for key, values in sums.items()})
    for later in used[turned.used :]:
        if later.account_id == turned.account.id and later.hour_at >= hour_of(since_at):
            values = left[later.feature_key]
            values[0] -= later.units_micro
            values[1] -= later.cost_micro
            values[2] -= later.events
    return left


def _less(sums: Sums, before: Sequence[UsedSoFar]) -> list[UsedSoFar]:
    left: Sums = {key: [*values] for key, values in sums.items()}
    for used in before:
        values = left.setdefault(used.feature_key, [0, 0, 0])
        left[used.feature_key] = [
            values[0] - used.units_micro,
            values[1] - used.cost_micro,
            values[2] - used.events,
        ]
    return _shown(left)


def _shown(sums: Sums) -> list[UsedSoFar]:
    return [UsedSoFar(key, *values) for key, values in sorted(sums.items()) if any(values)]
