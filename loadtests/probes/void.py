"""An event of yesterday is voided: balance, ledger and history agree, however often it is asked for."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from loadtests.load.book import Event, Total
from loadtests.load.judging import MICRO, read
from loadtests.probes.probe import Probe, ProbeFailed, Target

CREDITS, UNITS = 1_000, 7
ROUNDS = 20
AGO = timedelta(hours=20)
"""Within the window in which a timestamp is taken."""
KEPT = Total(1, UNITS)
"""Of each customer one event stays."""


async def run(target: Target) -> str:
    """Another customer each time."""
    async for number in target.pace(ROUNDS):
        await use_and_void(target, await target.make_customer(f"void_{number}", CREDITS), number)
    return f"{ROUNDS} events of yesterday voided, each asked for three times: credit, ledger and history agree"


async def use_and_void(target: Target, end_user_id: str, number: int) -> None:
    """Two events of which one is voided. Raises ProbeFailed."""
    await target.use(target.edge, Event(end_user_id, target.feature_key, f"{end_user_id}:kept", UNITS))
    voided = Event(end_user_id, target.feature_key, f"{end_user_id}:voided", UNITS)
    body = voided.body() | {"timestamp": (datetime.now(UTC) - AGO).isoformat()}
    event_id = read(await target.edge.send("POST", "/v1/usage", body), HTTPStatus.ACCEPTED)["event_id"]
    await target.drained(end_user_id)
    path, reason, key = f"/v1/usage/events/{event_id}/void", {"reason": "a probe"}, f"{end_user_id}:void"
    first = await target.core.send("POST", path, reason, key)
    read(first, HTTPStatus.CREATED)
    if (again := await target.core.send("POST", path, reason, key)).body != first.body:
        raise ProbeFailed(f"void {number} was answered differently when it was repeated: {again.body!r}")
    other = await target.core.send("POST", path, reason, f"{key}:other")
    if (code := read(other, HTTPStatus.CONFLICT)["code"]) != "already_voided":
        raise ProbeFailed(f"a second void was refused with {code}")
    async with target.open_edge() as connection:
        shown_micro = await target.check(connection, end_user_id)
    if shown_micro != (CREDITS - UNITS) * MICRO:
        raise ProbeFailed(f"after void {number} the balance is {shown_micro} millionths, not {CREDITS - UNITS} credits")
    await target.require_books(end_user_id, CREDITS - UNITS, KEPT)


PROBE = Probe("void", "an event of yesterday that is voided comes back, once, in balance, ledger and history", run)
