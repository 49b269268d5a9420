"""What tests of the Python SDK wait for."""

from tests.flow.stack import Client, drained
from tests.sdks.clients import Python
from tests.sdks.conftest import CREDITS
from tests.waiting import wait_until_async


async def charged(core: Client, user: str, units: float) -> None:
    """So much arrives, and no more."""

    async def has_arrived() -> bool:
        return (await drained(core, user))["total"] <= CREDITS - units

    await wait_until_async(has_arrived, 30, f"{units} units of {user}")
    assert (await drained(core, user))["total"] == CREDITS - units


async def flushed(client: Python) -> int:
    """Until nothing waits any more."""

    async def is_empty() -> bool:
        return (await client.flush()).waiting == 0

    await wait_until_async(is_empty, 30, "the spool to be empty")
    return (await client.flush()).waiting
