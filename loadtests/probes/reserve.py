"""Reservations of the last credit: far more at once than there is credit for, ended in every way there is."""

import asyncio
from http import HTTPStatus
from typing import Any

from loadtests.load.book import Total
from loadtests.load.client import until
from loadtests.load.judging import MICRO, Answer, read, require
from loadtests.probes.probe import Probe, ProbeFailed, Target

CREDITS, RESERVATIONS, UNITS = 1_000, 100, 50
AFFORDABLE = CREDITS // UNITS
USED = (20, UNITS, 0, None)
"""What is committed of one after the other; None = it is released."""
LATE, LATE_UNITS, TTL_SECONDS = 5, 30, 1
ROUNDS = 5


async def run(target: Target) -> str:
    """A race of another customer each time, and one whose client comes too late."""
    async for number in target.pace(ROUNDS):
        await race(target, await target.make_customer(f"reserve_{number}", CREDITS))
    await come_too_late(target, await target.make_customer("reserve_late", CREDITS))
    return (
        f"{ROUNDS} races: {AFFORDABLE} of {RESERVATIONS} reservations made in each, each ended once; "
        f"{LATE} that expired were charged once"
    )


async def race(target: Target, end_user_id: str) -> None:
    """Everybody reserves at once; those who may commit or release. Raises ProbeFailed or Wrong."""
    answers = await asyncio.gather(
        *[open_one(target, end_user_id, f"{end_user_id}:{number}") for number in range(RESERVATIONS)]
    )
    opened = [answer for answer in answers if answer.status == HTTPStatus.CREATED]
    if len(opened) != AFFORDABLE:
        raise ProbeFailed(f"{len(opened)} of {RESERVATIONS} reservations were made, not {AFFORDABLE}")
    for answer in answers:
        if answer.status != HTTPStatus.CREATED:
            require("code", read(answer, HTTPStatus.PAYMENT_REQUIRED)["code"], "insufficient_credits")
    require("balance in millionths", await target.check(target.edge, end_user_id), 0)
    used = [USED[number % len(USED)] for number in range(AFFORDABLE)]
    await asyncio.gather(*[end_one(target, answer, units) for answer, units in zip(opened, used, strict=True)])
    committed = [units for units in used if units is not None]
    left = CREDITS - sum(committed)
    require("balance in millionths", await target.check(target.edge, end_user_id), left * MICRO)
    await target.require_books(end_user_id, left, Total(len(committed), sum(committed)))


async def come_too_late(target: Target, end_user_id: str) -> None:
    """What expires comes back; a commit after that is charged, once. Raises NoAnswer, ProbeFailed or Wrong."""
    keys = [f"{end_user_id}:{number}" for number in range(LATE)]
    opened = await asyncio.gather(*[open_one(target, end_user_id, key, ttl_seconds=TTL_SECONDS) for key in keys])

    async def is_back() -> bool:
        return await target.check(target.edge, end_user_id) == CREDITS * MICRO

    await until(is_back, f"the reservations of {end_user_id} to expire")
    for answer in opened:
        told = await send_twice(target, f"{path_of(answer)}/commit", {"units": LATE_UNITS})
        require("late", told["late"], expected=True)
        require("charged", told["charged"], LATE_UNITS)
    used = LATE * LATE_UNITS
    require("balance in millionths", await target.check(target.edge, end_user_id), (CREDITS - used) * MICRO)
    await target.require_books(end_user_id, CREDITS - used, Total(LATE, used))


async def open_one(target: Target, end_user_id: str, key: str, **more: int) -> Answer:
    """Reserve, until it is answered."""
    what = {"end_user_id": end_user_id, "feature_key": target.feature_key, "units": UNITS, "idempotency_key": key}
    return await target.edge.send("POST", "/v1/reservations", what | more)


async def end_one(target: Target, opening: Answer, units: int | None) -> None:
    """Commit, or release. Raises ProbeFailed or Wrong."""
    verb, body = ("release", {}) if units is None else ("commit", {"units": units})
    told = await send_twice(target, f"{path_of(opening)}/{verb}", body)
    require("charged", told["charged"], units or 0)
    require("released", told["released"], UNITS - (units or 0))


async def send_twice(target: Target, path: str, body: dict[str, Any]) -> Any:  # noqa: ANN401 - the answer's JSON
    """What is answered, which has to be the same both times. Raises ProbeFailed or Wrong."""
    first, again = [await target.edge.send("POST", path, body) for _ in range(2)]
    if (first.status, first.body) != (again.status, again.body):
        raise ProbeFailed(f"{path} was answered with {first.body!r}, then with {again.body!r}")
    return read(first, HTTPStatus.OK)


def path_of(opening: Answer) -> str:
    """Of the reservation that an answer opened. Raises Wrong."""
    return f"/v1/reservations/{read(opening, HTTPStatus.CREATED)['reservation_id']}"


PROBE = Probe(
    "reserve",
    f"{CREDITS:,} credits, {RESERVATIONS} parallel reservations of {UNITS}: exactly {AFFORDABLE}, and each ends once",
    run,
)
