"""What clients do: one function is one operation, and OPERATIONS says how often each of them is chosen."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from loadtests.load.book import Event
from tests.chaos.client import is_later, to_micro, told_by
from tests.chaos.counting import reserve_counted, spend_counted
from tests.chaos.oracle import REFUSED
from tests.chaos.reserving import end_reservation, extend_reservation, keep_a_diary_of_reservations, reserve
from tests.chaos.shop import OPEN_USERS, TIGHT_USERS, Shop, balance_of, compare_diary, cost_of, read

MOST_BATCH_EVENTS = 50
MOST_GRANTED, MOST_GRANTED_TIGHT = 40, 8
TWICE = 0.2
"""Of the batches, sent again once they were answered."""
EXPIRING = 0.4
"""Of the grants."""


Operation = Callable[[Shop], Awaitable[None]]


async def use(shop: Shop) -> None:
    """One event, accepted whatever the customer has."""
    event = shop.event(shop.chance.choice(OPEN_USERS))
    shop.note(event, told_by(read(await shop.edge.ask("POST", "/v1/usage", event.body()), HTTPStatus.ACCEPTED)))


async def use_batch(shop: Shop) -> None:
    """Many events, until each of them is acknowledged; some batches once more, whole."""
    events = [shop.event(shop.chance.choice(OPEN_USERS)) for _ in range(shop.chance.randint(1, MOST_BATCH_EVENTS))]
    await _send_batch(shop, events)
    if shop.chance.random() < TWICE:
        await _send_batch(shop, events)


async def _send_batch(shop: Shop, events: list[Event]) -> None:
    waiting = events
    while waiting:
        body = {"events": [event.body() for event in waiting]}
        answer = read(await shop.edge.ask("POST", "/v1/usage/batch", body), HTTPStatus.ACCEPTED)
        results = list(zip(waiting, answer["results"], strict=True))
        waiting = [event for event, result in results if is_later(result)]
        for event, result in results:
            if event not in waiting:
                assert result["status"] == "accepted", result
                shop.note(event, told_by(result))


async def spend(shop: Shop) -> None:
    """One event with enforce, of somebody who often has too little."""
    event = shop.event(shop.chance.choice(TIGHT_USERS), enforce=True)
    answer = await shop.edge.ask("POST", "/v1/usage", event.body())
    if answer.status == HTTPStatus.PAYMENT_REQUIRED:
        assert answer.body["code"] == "insufficient_credits", answer.body
        shop.note(event, REFUSED)
    else:
        shop.note(event, told_by(read(answer, HTTPStatus.ACCEPTED)))


async def check(shop: Shop) -> None:
    """Somebody's balance; whatever it is, it comes."""
    await balance_of(shop, shop.chance.choice(OPEN_USERS + TIGHT_USERS))


async def keep_a_diary(shop: Shop) -> None:
    """Usage and a check of a customer whom nobody else uses: the check includes what was acknowledged before it."""
    event = shop.event(shop.name)
    told = told_by(read(await shop.edge.ask("POST", "/v1/usage", event.body()), HTTPStatus.ACCEPTED))
    shop.oracle.answer(event, told)
    cost_micro = told.cost_micro if told.cost_micro is not None else cost_of(event.feature_key, event.units)
    shop.left_micro -= cost_micro
    shop.unseen_micro += cost_micro if told.cost_micro is None else 0
    await compare_diary(shop)


async def grant(shop: Shop) -> None:
    """Credit, some of which is soon over."""
    key, end_user_id = shop.key(), shop.chance.choice(OPEN_USERS + TIGHT_USERS)
    amount = shop.chance.randint(1, MOST_GRANTED if end_user_id in OPEN_USERS else MOST_GRANTED_TIGHT)
    body: dict[str, object] = {"end_user_id": end_user_id, "amount": amount}
    is_expiring = shop.chance.random() < EXPIRING
    if is_expiring:
        body["expires_at"] = (datetime.now(UTC) + timedelta(seconds=shop.chance.uniform(2, 20))).isoformat()
    answer = await shop.core.ask("POST", "/v1/credits/grants", body, key)
    if is_expiring and answer.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        return  # its moment passed before anybody could take it
    read(answer, HTTPStatus.CREATED)
    shop.oracle.credit(end_user_id, key, to_micro(amount))


async def top_up(shop: Shop) -> None:
    """A payment that becomes credit once."""
    key, end_user_id, amount = shop.key(), shop.chance.choice(OPEN_USERS), shop.chance.randint(1, MOST_GRANTED)
    body = {"end_user_id": end_user_id, "payment_reference": key, "credits": amount}
    read(await shop.core.ask("POST", "/v1/topups", body | {"price_paid": 5, "currency": "EUR"}), HTTPStatus.CREATED)
    shop.oracle.credit(end_user_id, key, to_micro(amount))


async def void(shop: Shop) -> None:
    """An event that this client had acknowledged is taken back."""
    if not shop.voidable:
        return
    event = shop.voidable.pop(shop.chance.randrange(len(shop.voidable)))
    event_id = shop.oracle.told[event.idempotency_key].event_id
    path, key = f"/v1/usage/events/{event_id}/void", f"{event.idempotency_key}:void"
    read(await shop.core.ask("POST", path, {"reason": "chaos"}, key), HTTPStatus.CREATED)
    shop.oracle.void(event.idempotency_key)


OPERATIONS: Mapping[Operation, int] = {
    use_batch: 30,
    use: 20,
    spend: 20,
    check: 8,
    keep_a_diary: 10,
    grant: 6,
    top_up: 2,
    void: 6,
    spend_counted: 8,
    reserve_counted: 5,
    reserve: 14,
    end_reservation: 10,
    extend_reservation: 3,
    keep_a_diary_of_reservations: 5,
}
"""Each with its weight."""
