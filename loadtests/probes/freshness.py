"""A check after an acknowledgement includes it, whichever process answers."""

from http import HTTPStatus

from loadtests.load.book import Event, Total
from loadtests.load.judging import MICRO, read, to_micro
from loadtests.probes.probe import Probe, ProbeFailed, Target

CREDITS, UNITS = 1_000_000, 3
ROUNDS = 200


async def run(target: Target) -> str:
    """Usage, then checks over a new connection to the edge and over core, many times."""
    end_user_id = await target.make_customer("freshness", CREDITS)
    rounds = 0
    async for number in target.pace(ROUNDS):
        await record_and_check(target, end_user_id, number)
        rounds += 1
    await target.require_books(end_user_id, CREDITS - rounds * UNITS, Total(rounds, rounds * UNITS))
    return f"{2 * rounds} checks, each on another connection than the usage before it: none stale"


async def record_and_check(target: Target, end_user_id: str, number: int) -> None:
    """One event and two checks. Raises ProbeFailed."""
    event = Event(end_user_id, target.feature_key, f"{end_user_id}:{number}", UNITS)
    expected_micro = (CREDITS - (number + 1) * UNITS) * MICRO
    used_micro = to_micro(read(await target.use(target.edge, event), HTTPStatus.ACCEPTED)["balance"])
    async with target.open_edge() as other:
        checks = {"the edge": await target.check(other, end_user_id)}
    checks["core"] = await target.check(target.core, end_user_id)
    for name, micro in {"usage": used_micro, **checks}.items():
        if micro != expected_micro:
            raise ProbeFailed(
                f"after event {number}, the balance by {name} is {micro} millionths, not {expected_micro}"
            )


PROBE = Probe("freshness", "a check on another connection includes the usage acknowledged before it", run)
