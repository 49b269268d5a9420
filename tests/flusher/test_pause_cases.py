"""What becomes of credit that comes back around a pause, as a table that finance can read."""

import re
from uuid import UUID

import pytest

from app.rules.lifecycle import Action
from app.rules.terms import SubscriptionTerms
from app.wire.events import EntryKind, StreamEntry
from app.wire.orders import Act, Order, Subscribe, VoidGrant, VoidUsage
from app.wire.reservations import ReservationState
from tests.flusher.batch_subjects import ending, opening, tick, usage
from tests.flusher.subscriber_rows import Catalogue, SubscriberRows
from tests.flusher.subscribing_programs import make_rows
from tests.flusher.test_lag_laws import REF
from tests.rules.subscribing import DAY, PREPAID, STARTS_AT, grant, plan

# 1,000 credits for a month of 28 days, prepaid, which nobody renews. Steps: use n #event, open n #id, release #id,
# commit n #id, void #event, void grant [debt], pause, resume, cancel, renew; @days since it began.
# Seen: @day what the balance is then, + what is set aside; a refusal of the last step stands as !code amount.
SUBSCRIPTION, OFFER = UUID(int=7), plan(1, grant(10, 1_000), mode=PREPAID)
CASES = """
steps                                                                       | seen
use 400 #1 @5, pause @10, resume @40, void #1 @41                           | @41 1000, @57 1000, @58 0
use 400 #1 @5, pause @10, void #1 @35, resume @40                           | @35 0+1000, @40 1000, @57 1000, @58 0
use 400 #1 @5, pause @10, resume @40, void #1 @58                           | @58 0
use 1000 #1 @5, pause @10, resume @40, void #1 @41                          | @41 1000, @57 1000, @58 0
use 1000 #1 @5, pause @10, void #1 @11, resume @40                          | @11 0+1000, @57 1000, @58 0
open 500 #1 @26, pause @27, release #1 @30, resume @31                      | @27 0+500, @30 0+1000, @31 1000, @32 0
open 500 #1 @26, pause @27, release #1 @27, resume @31                      | @27 0+1000, @31 1000, @32 0
open 500 #1 @5, pause @10, commit 200 #1 @12, resume @20                    | @12 0+800, @20 800, @37 800, @38 0
open 500 #1 @5, pause @10, resume @20, release #1 @30                       | @30 1000, @37 1000, @38 0
open 500 #1 @5, pause @10, resume @20, commit 200 #1 @30                    | @30 800, @37 800, @38 0
use 400 #1 @5, pause @10, resume @20, pause @25, resume @35, void #1 @36    | @36 1000, @47 1000, @48 0
use 400 #1 @5, pause @10, resume @20, pause @25, void #1 @40, resume @45    | @40 0+1000, @57 1000, @58 0
use 400 #1 @5, pause @10, resume @20, void #1 @21, pause @22, resume @32    | @22 0+1000, @32 1000, @47 1000, @48 0
use 400 #1 @5, pause @10, cancel @40, void #1 @41                           | @41 1000, @57 1000, @58 0
pause @10, resume @10, use 400 #1 @10, pause @10, void #1 @10, resume @10   | @10 1000, @27 1000, @28 0
pause @10, void grant @11, resume @20                                       | @11 0, @20 0
use 400 #1 @5, pause @10, void grant @11                                    | !grant_spent 400, @11 0+600
use 400 #1 @5, pause @10, void grant debt @11                               | @11 -400
use 400 #1 @5, pause @10, void grant debt @11, void #1 @12, resume @20      | @12 0, @20 0
open 500 #1 @5, pause @10, void grant debt @11, release #1 @12, resume @20  | @11 -500, @12 0, @20 0
pause @10, void grant @30, resume @31                                       | @30 0, @31 0
pause @10, resume @20, void grant @21                                       | !grant_moved 0, @21 1000
pause @10, resume @20, void grant @38                                       | !grant_expired 0, @38 0
"""
ROWS = [[cell.strip() for cell in line.split("|")] for line in CASES.strip().splitlines()[1:]]
CLIENTS = {"pause": Action.PAUSE, "resume": Action.RESUME, "cancel": Action.CANCEL, "renew": Action.RENEW}


def entry_of(number: int, step: str, granted: UUID) -> StreamEntry:
    """One step as an entry of the stream."""
    words, day = step.rsplit("@", 1)
    verb, *rest = words.split()
    at = STARTS_AT + int(day) * DAY
    amounts = [int(word) for word in rest if word.isdigit()]
    what = next((int(word[1:]) for word in rest if word.startswith("#")), 0)
    match verb:
        case "use":
            return usage("user", what, amounts[0], at)
        case "open":
            return opening("user", what, amounts[0], at)
        case "release":
            return ending("user", what, ReservationState.RELEASED, at)
        case "commit":
            return ending("user", what, ReservationState.COMMITTED, at, used_micro=amounts[0])
        case _:
            order = order_of(UUID(int=1_000 + number), verb, rest, granted)
            return StreamEntry((at, number), REF, EntryKind.ORDER, at, 1, 0, None, order)


def order_of(order_id: UUID, verb: str, rest: list[str], granted: UUID) -> Order:
    """What a client asks for."""
    if verb in CLIENTS:
        return Act(order_id=order_id, actor="client", subscription_id=SUBSCRIPTION, action=CLIENTS[verb])
    if rest[0] == "grant":
        return VoidGrant(order_id=order_id, actor="client", block_id=granted, allow_debt="debt" in rest)
    return VoidUsage(order_id=order_id, actor="client", event_id=UUID(int=int(rest[0][1:])))


def subscribing(offer: SubscriptionTerms) -> StreamEntry:
    """A customer comes to an offer."""
    order = Subscribe(
        order_id=UUID(int=999), actor="client", subscription_id=SUBSCRIPTION, variant_id=offer.name.variant_id
    )
    return StreamEntry((STARTS_AT, 0), REF, EntryKind.ORDER, STARTS_AT, 1, 0, None, order)


def begun(offer: SubscriptionTerms = OFFER) -> SubscriberRows:
    """A customer who has just subscribed."""
    rows = make_rows([])
    rows.catalogue = Catalogue({offer.name.variant_id: offer}, None, "UTC")
    rows.post([subscribing(offer)])
    return rows


@pytest.mark.parametrize(("steps", "seen"), ROWS, ids=[row[0] for row in ROWS])
@pytest.mark.parametrize("size", [1, 100])
def test_the_table(steps: str, seen: str, size: int) -> None:
    """Step by step, or all of a look in one batch: what is seen at each moment is what the table says."""
    rows = begun()
    [granted] = rows.blocks
    look_at(rows, [entry_of(number, step, granted) for number, step in enumerate(steps.split(", "), 1)], seen, size)


def look_at(rows: SubscriberRows, entries: list[StreamEntry], seen: str, size: int) -> None:
    """Post what comes by each look, and see what a table says: `@day balance+aside`, or `!code amount` at the end."""
    last = UUID(int=1_000 + len(entries))
    for look in seen.split(", "):
        if look.startswith("!"):
            post(rows, entries, size)
            refused = rows.outcomes[last].refused
            assert refused is not None
            assert f"!{refused.code} {refused.amount_micro}" == look
            entries = []
            continue
        day, balance, aside = re.fullmatch(r"@(\d+) (-?\d+)(?:\+(\d+))?", look).groups()  # type: ignore[union-attr]
        at = STARTS_AT + int(day) * DAY
        post(rows, [*(entry for entry in entries if entry.accepted_at <= at), tick("user", at)], size)
        entries = [entry for entry in entries if entry.accepted_at > at]
        assert (rows.account.total_micro, aside_of(rows)) == (int(balance), int(aside or 0)), look
    assert not entries


def post(rows: SubscriberRows, entries: list[StreamEntry], size: int) -> None:
    """In batches of a size."""
    for start in range(0, len(entries), size):
        rows.post(entries[start : start + size])


def aside_of(rows: SubscriberRows) -> int:
    """What is set aside of all that the customer has."""
    return sum(block.remaining_micro for kept in rows.subscriptions() for block in kept.set_aside)
