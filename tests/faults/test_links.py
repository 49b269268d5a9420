"""Connections that are slow, silent, cut or refused: clients wait or are told to, and nothing is lost or done twice."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import product

import aiohttp
import pytest

from tests.faults.customer import Customer
from tests.faults.links import LinkedStack
from tests.faults.proxy import FaultProxy, Way
from tests.waiting import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

SLOW_BYTES_A_SECOND = 20_000
USED_BY_USAGE = ("client-edge", "edge-valkey", "flusher-valkey", "flusher-postgres")
USED_BY_GRANTS = ("client-core", "core-postgres", "core-valkey")
SEEN = 4
"""Attempts of a client after which a fault has shown what it does."""
SHOWN_SECONDS = 45
FAILED_TURN = "turn_failed"
"""What the flusher logs when it notices: its clients do not."""


async def be_slow(link: FaultProxy) -> None:
    """A few milliseconds for each of our messages, and many for a batch."""
    link.slow(SLOW_BYTES_A_SECOND)


async def be_silent(link: FaultProxy) -> None:
    """Connections are taken in, and nothing is heard."""
    link.stall()


async def be_mute(link: FaultProxy) -> None:
    """What is asked arrives, and its answers do not."""
    link.stall(Way.TO_CLIENT)


async def be_abandoned(link: FaultProxy) -> None:
    """What was connected is never heard of again; a new connection is whole."""
    link.abandon()


async def be_cut(link: FaultProxy) -> None:
    """Whoever is connected is cut off."""
    link.cut()


async def be_refused(link: FaultProxy) -> None:
    """Nobody listens."""
    await link.refuse()


SILENT_IN_THE_MIDDLE = ("flusher-postgres", be_abandoned)
"""A batch under way is given up after half a minute: `test_silent_postgres.py` shows that with less patience."""
EVERYWHERE = (be_slow, be_abandoned, be_cut, be_refused)
CASES = [
    *(case for case in product((*USED_BY_USAGE, *USED_BY_GRANTS), EVERYWHERE) if case != SILENT_IN_THE_MIDDLE),
    *product(("client-edge", "edge-valkey", "client-core", "core-postgres"), (be_mute,)),
    *product(("edge-valkey",), (be_silent,)),
]
"""Silent, mute and abandoned are alike to those who keep their connections, and take long: few are tried with all."""


@pytest.mark.parametrize(("name", "fault"), [pytest.param(*case, id=f"{case[0]}-{case[1].__name__}") for case in CASES])
async def test_a_link_that_fails(
    linked: LinkedStack,
    session: aiohttp.ClientSession,
    name: str,
    fault: Callable[[FaultProxy], Awaitable[None]],
) -> None:
    """Clients repeat what was not answered until it is: each event counts once, and everything agrees afterwards."""
    customer = await Customer.make(await linked.tenant(session))
    do = customer.use if name in USED_BY_USAGE else customer.grant
    await do("before", 1)
    log_path = linked.stack.roles["flusher"].log_path
    failed_turns = log_path.read_text().count(FAILED_TURN)
    await fault(linked.links[name])
    doing = asyncio.create_task(customer.do_many(do, name))

    async def has_shown() -> bool:
        if name.startswith("flusher") and fault is not be_slow:
            return log_path.read_text().count(FAILED_TURN) > failed_turns
        return doing.done() or customer.seen.total() > SEEN

    await wait_until_async(has_shown, SHOWN_SECONDS, f"{name} to show what is wrong")
    await linked.heal()
    await doing
    await do("after", 1)
    await customer.prove(linked.stack)
