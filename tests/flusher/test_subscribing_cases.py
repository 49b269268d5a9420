"""Subscriptions in batches, cut at the worst places."""

from uuid import UUID

import pytest
from msgspec.structs import replace

from app.rules.lifecycle import Action
from app.rules.terms import RolloverRule
from app.wire.events import EntryKind, StreamEntry
from app.wire.orders import Act, Order, Subscribe, VoidUsage
from tests.flusher.batch_subjects import tick, usage
from tests.flusher.subscriber_rows import Catalogue
from tests.flusher.subscribing_programs import make_rows
from tests.flusher.test_lag_laws import REF
from tests.rules.subscribing import DAY, PREPAID, STARTS_AT, grant, plan

SUBSCRIPTION = UUID(int=77)


def order(number: int, at: int, what: type[Order], **asked: object) -> StreamEntry:
    """An order as an entry."""
    named = what(order_id=UUID(int=1_000 + number), actor="client", **asked)  # type: ignore[arg-type] # what it asks for
    return StreamEntry((at, number), REF, EntryKind.ORDER, at, 1, 0, None, named)


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_what_a_void_gives_back_does_not_roll_over_into_nothing(size: int) -> None:
    """Its block was spent when the subscription ended, so it was at hand only where all of it came in one batch."""
    terms = plan(1, replace(grant(1, 100), rollover=RolloverRule(1_000_000)))
    rows = make_rows([])
    rows.catalogue = Catalogue({UUID(int=1): terms}, None, "UTC")
    subscribed = {"subscription_id": SUBSCRIPTION, "variant_id": UUID(int=1)}
    entries = [
        order(1, STARTS_AT, Subscribe, **subscribed),
        usage("user", 2, 100, STARTS_AT + DAY),
        order(3, STARTS_AT + 2 * DAY, Act, subscription_id=SUBSCRIPTION, action=Action.CANCEL),
        order(4, STARTS_AT + 3 * DAY, VoidUsage, event_id=UUID(int=2)),
        tick("user", STARTS_AT + 40 * DAY),
    ]
    for start in range(0, len(entries), size):
        rows.post(entries[start : start + size])
    assert [transaction.kind for transaction in rows.transactions] == ["grant", "usage", "void", "expiry"]
    assert rows.account.total_micro == 0


@pytest.mark.parametrize("looks", [[], [41, 45]])
def test_credit_that_a_client_brings_pays_debt_as_of_that_moment(looks: list[int]) -> None:
    """Whoever comes by later: what is granted for a renewal pays when it is granted."""
    rows = make_rows([])
    rows.catalogue = Catalogue({UUID(int=1): plan(1, grant(1, 100), mode=PREPAID)}, None, "UTC")
    subscribed = {"subscription_id": SUBSCRIPTION, "variant_id": UUID(int=1)}
    renewed_at = STARTS_AT + 30 * DAY
    rows.post([order(1, STARTS_AT, Subscribe, **subscribed), usage("user", 2, 150, STARTS_AT + DAY)])
    rows.post([order(3, renewed_at, Act, subscription_id=SUBSCRIPTION, action=Action.RENEW)])
    for day in [*looks, 50]:
        rows.post([tick("user", STARTS_AT + day * DAY)])
    paid = [(each.posted_at, each.lines[-1]) for each in rows.transactions if each.kind == "debt_payment"]
    assert paid == [(renewed_at, ("debt", 50))]
