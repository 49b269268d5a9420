"""The last credit: far more spends at once than there is credit for."""

import asyncio
from http import HTTPStatus

from loadtests.load.book import Event, Total
from loadtests.load.judging import MICRO, read, to_micro
from loadtests.probes.probe import Probe, ProbeFailed, Target

CREDITS, SPENDS, UNITS = 1_000, 500, 10
AFFORDABLE = CREDITS // UNITS
ROUNDS = 5
BALANCES = [MICRO * left for left in range(0, CREDITS, UNITS)]
"""After each spend that is accepted, sorted."""


async def run(target: Target) -> str:
    """A race of another customer each time."""
    async for number in target.pace(ROUNDS):
        await race(target, await target.make_customer(f"race_{number}", CREDITS))
    return f"{ROUNDS} races: {AFFORDABLE} of {SPENDS} accepted in each, no balance twice, nothing left"


async def race(target: Target, end_user_id: str) -> None:
    """Everybody spends at once. Raises ProbeFailed."""
    events = [
        Event(end_user_id, target.feature_key, f"{end_user_id}:{number}", UNITS, enforce=True)
        for number in range(SPENDS)
    ]
    answers = await asyncio.gather(*[target.use(target.edge, event) for event in events])
    accepted = [answer for answer in answers if answer.status == HTTPStatus.ACCEPTED]
    if len(accepted) != AFFORDABLE:
        raise ProbeFailed(f"{len(accepted)} of {SPENDS} spends were accepted, not {AFFORDABLE}")
    for answer in answers:
        if answer.status != HTTPStatus.ACCEPTED:
            code = read(answer, HTTPStatus.PAYMENT_REQUIRED)["code"]
            if code != "insufficient_credits":
                raise ProbeFailed(f"a spend was refused with {code}")
    balances = sorted(to_micro(read(answer, HTTPStatus.ACCEPTED)["balance"]) for answer in accepted)
    if balances != BALANCES:
        raise ProbeFailed(f"the balances after the spends are {balances}")
    await target.require_books(end_user_id, 0, Total(AFFORDABLE, CREDITS))


PROBE = Probe(
    "race", f"{CREDITS:,} credits, {SPENDS} parallel spends of {UNITS}: exactly {AFFORDABLE} are accepted", run
)
