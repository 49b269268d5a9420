"""A feature whose units are counted: what it costs follows from what was used before, and there is a limit."""

from collections.abc import Iterable, Iterator
from http import HTTPStatus

from loadtests.load.book import Event
from tests.chaos.client import to_micro, told_by
from tests.chaos.oracle import REFUSED, PostedEvent
from tests.chaos.reservations import PostedReservation
from tests.chaos.reserving import RELEASED, commit, open_one, release
from tests.chaos.shop import MOST_UNITS, PAGES, Shop, read

LIMIT, CHEAPER_FROM = 150, 50
TIERS = [{"amount": 2, "up_to": CHEAPER_FROM}, {"amount": 1}]
LIMITED_USERS = tuple(f"limited_{number}" for number in range(4))
"""They have no plan, far more credit than they need, and what they use is never voided."""
RESERVING_USERS = ("reserving_0",)
"""The same, but they reserve: what others hold at a moment decides what they may, and what it costs."""
LIMIT_REACHED = "limit_reached"


async def spend_counted(shop: Shop) -> None:
    """One event with enforce, until the limit is reached; the answer says so then."""
    key, units = shop.key(), shop.chance.randint(1, MOST_UNITS)
    event = Event(shop.chance.choice(LIMITED_USERS), PAGES, key, units, enforce=True)
    shop.oracle.send(event)
    answer = await shop.edge.ask("POST", "/v1/usage", event.body())
    if answer.status == HTTPStatus.PAYMENT_REQUIRED:
        assert answer.body["code"] == LIMIT_REACHED, answer.body
        shop.oracle.answer(event, REFUSED)
    else:
        shop.oracle.answer(event, told_by(read(answer, HTTPStatus.ACCEPTED)))


async def reserve_counted(shop: Shop) -> None:
    """Reserve until the limit is reached, and commit no more than that, or nothing."""
    reserved = await open_one(shop, shop.chance.choice(RESERVING_USERS), PAGES, refusal=LIMIT_REACHED)
    if reserved.state != "open":
        return
    if shop.chance.random() < RELEASED:
        await release(shop, reserved)
    else:
        await commit(shop, reserved, shop.chance.randint(0, reserved.units))


def reserved_differences(posted: Iterable[PostedReservation]) -> Iterator[str]:
    """In words, where more was committed than the limit allows: nobody commits more than was reserved."""
    used: dict[str, int] = dict.fromkeys(RESERVING_USERS, 0)
    for one in posted:
        if one.end_user_id in used and one.used is not None:
            used[one.end_user_id] += one.used[0]
    yield from (
        f"{name} used {units} of {PAGES}, and the limit is {LIMIT}" for name, units in used.items() if units > LIMIT
    )


def counted_differences(sent: Iterable[Event], posted: Iterable[PostedEvent]) -> Iterator[str]:
    """In words, where units were not counted: beyond the limit, refused within it, or priced from another place."""
    found = [event for event in posted if event.feature_key == PAGES]
    accepted = {event.idempotency_key for event in found}
    for end_user_id in LIMITED_USERS:
        own = [event for event in found if event.end_user_id == end_user_id]
        units, cost_micro = sum(event.units for event in own), sum(event.cost_micro for event in own)
        if units > LIMIT:
            yield f"{end_user_id} used {units} of {PAGES}, and the limit is {LIMIT}"
        if cost_micro != to_micro(units + min(units, CHEAPER_FROM)):
            yield f"{end_user_id} used {units} of {PAGES}, and they cost {cost_micro}"
        for event in sent:
            is_refused = event.end_user_id == end_user_id and event.idempotency_key not in accepted
            if is_refused and units + event.units <= LIMIT:
                yield f"{event.idempotency_key} of {event.units} was refused, and {end_user_id} has used {units}"
