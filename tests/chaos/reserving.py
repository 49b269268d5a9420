"""What clients do with reservations; `operations.OPERATIONS` says how often."""

import time
from datetime import datetime
from http import HTTPStatus
from typing import Any

from tests.chaos.client import to_micro
from tests.chaos.reservations import REFUSED, Reserved
from tests.chaos.shop import (
    CALLS,
    MOST_UNITS,
    OPEN_USERS,
    PAGES,
    TIGHT_USERS,
    TOKENS,
    Shop,
    compare_diary,
    cost_of,
    read,
)
from tests.flow.stack import Answer

SHORT_TTL_SECONDS, LONG_TTL_SECONDS = (1, 4), 7_200
"""Some fall due while the run goes on, the others long after it."""
SHORT, RELEASED, REPEATED, LEFT = 0.4, 0.3, 0.2, 0.15
"""Shares: of the openings, that fall due soon; of the ends, that are releases; of the answers, that are asked for
again; of the open ones, that are left to themselves."""
SHORT_OF_CREDIT = "insufficient_credits"
MICROSECONDS = 1_000_000


async def reserve(shop: Shop) -> None:
    """Open one, which somebody ends later, or nobody."""
    end_user_id = shop.chance.choice(OPEN_USERS + TIGHT_USERS)
    is_short = shop.chance.random() < SHORT
    ttl_seconds = shop.chance.randint(*SHORT_TTL_SECONDS) if is_short else LONG_TTL_SECONDS
    reserved = await open_one(shop, end_user_id, shop.chance.choice((CALLS, TOKENS)), ttl_seconds)
    if reserved.state == "open" and shop.chance.random() >= LEFT:
        shop.reserved.append(reserved)


async def end_reservation(shop: Shop) -> None:
    """Commit or release one, whether it has fallen due by now or not."""
    if not shop.reserved:
        return
    reserved = shop.reserved.pop(shop.chance.randrange(len(shop.reserved)))
    if shop.chance.random() < RELEASED:
        await release(shop, reserved)
    else:
        # Whoever may not owe commits no more than was reserved; a late commit is charged all the same.
        most = reserved.units if reserved.end_user_id in TIGHT_USERS else reserved.units + MOST_UNITS
        await commit(shop, reserved, shop.chance.choice((reserved.units, shop.chance.randint(0, most))))


async def extend_reservation(shop: Shop) -> None:
    """Have one fall due later, where it is not too late for that."""
    if not shop.reserved:
        return
    reserved = shop.chance.choice(shop.reserved)
    body = {"ttl_seconds": shop.chance.randint(*SHORT_TTL_SECONDS)}
    answer = await shop.edge.ask("POST", f"{_path(reserved)}/extend", body)
    if _has_expired(answer, reserved):
        return
    due_at = _to_at(read(answer, HTTPStatus.OK)["expires_at"])
    assert due_at >= reserved.due_at, (reserved, answer.body)
    reserved.due_at = due_at


async def keep_a_diary_of_reservations(shop: Shop) -> None:
    """A customer whom nobody else uses: checks include the opening, and the commit of all of it, as soon as told."""
    reserved = await open_one(shop, shop.name, shop.chance.choice((CALLS, TOKENS)))
    assert reserved.state == "open", reserved
    shop.left_micro -= reserved.reserved_micro
    await compare_diary(shop)
    await commit(shop, reserved, reserved.units)
    await compare_diary(shop)


async def open_one(
    shop: Shop, end_user_id: str, feature_key: str, ttl_seconds: int = LONG_TTL_SECONDS, refusal: str = SHORT_OF_CREDIT
) -> Reserved:
    """Ask for a few units until that is answered; `refusal` is the code of the only one that may come."""
    units = shop.chance.randint(1, MOST_UNITS)
    reserved = Reserved(end_user_id, feature_key, shop.key(), units)
    shop.oracle.reserved.append(reserved)
    body = {
        "end_user_id": end_user_id,
        "feature_key": feature_key,
        "units": units,
        "ttl_seconds": ttl_seconds,
        "idempotency_key": reserved.key,
    }
    answer = await _ask_often(shop, "/v1/reservations", body)
    if answer.status == HTTPStatus.PAYMENT_REQUIRED:
        assert answer.body["code"] == refusal, answer.body
        reserved.state = REFUSED
        return reserved
    told = read(answer, HTTPStatus.CREATED)
    reserved.reservation_id = told["reservation_id"].removeprefix("rsv_")
    reserved.reserved_micro, reserved.due_at = to_micro(told["reserved"]), _to_at(told["expires_at"])
    if feature_key != PAGES:  # there it follows from what was used before
        assert reserved.reserved_micro == cost_of(feature_key, units), (reserved, answer.body)
    return reserved


async def commit(shop: Shop, reserved: Reserved, units: int) -> None:
    """End one with what was used."""
    told = read(await _ask_often(shop, f"{_path(reserved)}/commit", {"units": units}), HTTPStatus.OK)
    reserved.committed, reserved.is_late = (units, to_micro(told["charged"])), told["late"]
    reserved.state = "expired" if reserved.is_late else "committed"
    if reserved.feature_key != PAGES:
        assert reserved.committed[1] == cost_of(reserved.feature_key, units), (reserved, told)
    left_micro = 0 if reserved.is_late else max(0, reserved.reserved_micro - reserved.committed[1])
    assert to_micro(told["released"]) == left_micro, (reserved, told)
    assert not reserved.is_late or _is_past_due(reserved), (reserved, told)


async def release(shop: Shop, reserved: Reserved) -> None:
    """End one with nothing, where it has not expired."""
    answer = await _ask_often(shop, f"{_path(reserved)}/release", {})
    if _has_expired(answer, reserved):
        return
    told = read(answer, HTTPStatus.OK)
    assert (told["charged"], to_micro(told["released"])) == (0, reserved.reserved_micro), (reserved, told)
    reserved.state = "released"


async def _ask_often(shop: Shop, path: str, body: dict[str, Any]) -> Answer:
    """The answer; now and then it is asked for again, and has to be the same."""
    answer = await shop.edge.ask("POST", path, body)
    if shop.chance.random() < REPEATED:
        again = await shop.edge.ask("POST", path, body)
        ours, theirs = ((one.status, {**one.body, "instance": ""}) for one in (answer, again))
        assert ours == theirs, (answer.body, again.body)
    return answer


def _has_expired(answer: Answer, reserved: Reserved) -> bool:
    """Whether the answer is that it has expired, which has to be so."""
    if answer.status != HTTPStatus.CONFLICT:
        return False
    assert (answer.body["code"], answer.body["context"]) == ("reservation_ended", {"state": "expired"}), answer.body
    assert _is_past_due(reserved), (reserved, answer.body)
    reserved.state = "expired"
    return True


def _is_past_due(reserved: Reserved) -> bool:
    """One machine, one clock."""
    return time.time_ns() // 1000 >= reserved.due_at


def _path(reserved: Reserved) -> str:
    return f"/v1/reservations/rsv_{reserved.reservation_id}"


def _to_at(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int(moment.timestamp()) * MICROSECONDS + moment.microsecond
