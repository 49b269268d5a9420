"""Processes are killed at random moments, and started again; what was acknowledged is in the ledger, once."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from http import HTTPStatus
from random import Random
from urllib.parse import urlencode

from loadtests.load.book import Event, repeated
from loadtests.load.client import PASSING_CODES, RETRY_SECONDS, NoAnswer, pages
from loadtests.load.judging import read
from loadtests.probes.probe import Probe, ProbeFailed, Target

VICTIMS = ("edge", "flusher", "core", "jobs")
CUSTOMERS = 10
CREDITS = 10_000_000
BATCHES, BATCH_EVENTS = 400, 20
MOST_UNITS = 1_000
MOST_ATTEMPTS = 100
"""Of a batch, until all of it is acknowledged; each is sent until it is answered."""


async def run(target: Target) -> str:
    """Batches all the time, and kills all the time; at the end the ledger is compared, key by key."""
    chance = target.chance("crash")
    customers = [await target.make_customer(f"crash_{number}", CREDITS) for number in range(CUSTOMERS)]
    acknowledged: dict[str, Event] = {}
    async with asyncio.TaskGroup() as group:
        group.create_task(send_all(target, customers, acknowledged))
        killing = group.create_task(kill_all(target, chance))
    for end_user_id in customers:
        await target.drained(end_user_id)
        await require_once(target, end_user_id, acknowledged)
    kills = ", ".join(f"{name} {count}" for name, count in sorted(killing.result().items()))
    return f"{killing.result().total()} kills ({kills}): {len(acknowledged):,} acknowledged events, each once"


async def kill_all(target: Target, chance: Random) -> Counter[str]:
    """Kill -9 of one process after the other, at random moments; how often each was killed."""
    if target.processes is None:
        raise ProbeFailed("there are no processes to kill")
    killed: Counter[str] = Counter()
    async for _ in target.pace(target.kills, chance):
        victim = chance.choice(VICTIMS)
        await target.processes.kill(victim)
        killed[victim] += 1
    return killed


async def send_all(target: Target, customers: Sequence[str], acknowledged: dict[str, Event]) -> None:
    """Batches, one begun after the other in time, however long each of them takes."""
    chance = target.chance("crash events")
    async with asyncio.TaskGroup() as group:
        async for number in target.pace(BATCHES):
            events = [
                Event(
                    chance.choice(customers),
                    target.feature_key,
                    f"{target.run}_crash:{number}:{index}",
                    chance.randint(1, MOST_UNITS),
                )
                for index in range(BATCH_EVENTS)
            ]
            group.create_task(send_batch(target, events, acknowledged))


async def send_batch(target: Target, events: Sequence[Event], acknowledged: dict[str, Event]) -> None:
    """The same keys again until all are acknowledged. Raises ProbeFailed or NoAnswer."""
    waiting = list(events)
    for _ in range(MOST_ATTEMPTS):
        answer = await target.edge.send("POST", "/v1/usage/batch", {"events": [event.body() for event in waiting]})
        results = read(answer, HTTPStatus.ACCEPTED)["results"]
        later: list[Event] = []
        for event, result in zip(waiting, results, strict=True):
            if result["status"] == "accepted":
                acknowledged[event.idempotency_key] = event
            elif result["code"] in PASSING_CODES:
                later.append(event)
            else:
                raise ProbeFailed(f"{event.idempotency_key} was refused: {result['code']}: {result['detail']}")
        if not later:
            return
        waiting = later
        await asyncio.sleep(RETRY_SECONDS)
    raise NoAnswer(f"{len(waiting)} events were not accepted in {MOST_ATTEMPTS} attempts")


async def require_once(target: Target, end_user_id: str, acknowledged: dict[str, Event]) -> None:
    """Every acknowledged event of a customer is in the ledger once, and nothing else is. Raises ProbeFailed."""
    asked = urlencode({"end_user_id": end_user_id, "feature_key": target.feature_key})
    rows = await pages(target.core, f"/v1/usage/events?{asked}")
    sent = {key: event.units for key, event in acknowledged.items() if event.end_user_id == end_user_id}
    found = {row["idempotency_key"]: row["units"] for row in rows}
    if twice := repeated(row["idempotency_key"] for row in rows):
        raise ProbeFailed(f"{len(twice)} events of {end_user_id} are in the ledger more than once, such as {twice[0]}")
    if lost := sorted(sent.keys() - found.keys()):
        raise ProbeFailed(f"{len(lost)} acknowledged events of {end_user_id} are lost, such as {lost[0]}")
    if wrong := sorted(key for key, units in found.items() if sent.get(key) != units):
        raise ProbeFailed(f"{len(wrong)} events of {end_user_id} are not as they were sent, such as {wrong[0]}")


PROBE = Probe(
    "crash", "kill -9 at random moments: every acknowledged event is in the ledger once", run, needs_processes=True
)
