"""A client that asks again and again: one key, one deduction, one answer."""

import asyncio
from http import HTTPStatus

from loadtests.load.book import Event, Total
from loadtests.load.judging import MICRO, read, require, to_micro
from loadtests.probes.probe import Probe, ProbeFailed, Target

CREDITS, TWINS, UNITS = 1_000, 100, 7
ROUNDS = 5


async def run(target: Target) -> str:
    """Twins of another customer each time."""
    async for number in target.pace(ROUNDS):
        await send_twins(target, await target.make_customer(f"replay_{number}", CREDITS))
    return f"{ROUNDS} times {TWINS} twins: one deduction and {TWINS} equal answers each"


async def send_twins(target: Target, end_user_id: str) -> None:
    """The same request many times at once, and once more afterwards. Raises ProbeFailed or Wrong."""
    event = Event(end_user_id, target.feature_key, f"{end_user_id}:the-same", UNITS)
    answers = await asyncio.gather(*[target.use(target.edge, event) for _ in range(TWINS)])
    answers.append(await target.use(target.edge, event))
    body = read(answers[0], HTTPStatus.ACCEPTED)
    require("balance", to_micro(body["balance"]), (CREDITS - UNITS) * MICRO)
    different = {(answer.status, answer.body) for answer in answers}
    if len(different) != 1:
        raise ProbeFailed(f"{len(answers)} requests with one key had {len(different)} different answers: {different}")
    fresh = sum(not answer.is_replayed for answer in answers)
    if fresh > 1:  # none where the answer to the first was lost with a killed process
        raise ProbeFailed(f"{fresh} of {len(answers)} answers say that they were given for the first time")
    await target.require_books(end_user_id, CREDITS - UNITS, Total(1, UNITS))


PROBE = Probe("replay", f"one key {TWINS} times at once: one deduction, {TWINS} equal answers", run)
