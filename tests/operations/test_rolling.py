"""All processes are replaced one after the other while clients go on: nobody notices more than a repeated request."""

import asyncio
from itertools import count
from pathlib import Path

import pytest

from tests.flow.stack import drained, open_session, running_stack
from tests.operations.clients import CUSTOMERS, Sender, events, keys_of, posted, subscribe
from tests.operations.recipes import Operator, recipe
from tests.waiting import wait_until_async

BETWEEN_STEPS = 40
"""Events that are acknowledged between two steps, so that each meets load."""


async def go_on(sender: Sender, stop: asyncio.Event) -> int:
    """Usage until told to stop; how many batches of events that was."""
    for number in count():
        if stop.is_set():
            return number
        await sender.send_all(events(f"{number}", 2 * CUSTOMERS))
    raise AssertionError("unreachable")


@pytest.mark.timeout(300)
async def test_a_new_version_under_load(tmp_path: Path) -> None:
    """By the steps of the page: what was acknowledged is posted once, jobs saw no drift, the doctor finds nothing."""
    async with running_stack(tmp_path) as stack, open_session() as session:
        tenant, operator = await stack.tenant(session), Operator(stack, session, tmp_path)
        await subscribe(tenant)
        sender, stop = Sender(tenant), asyncio.Event()
        load = asyncio.create_task(go_on(sender, stop))
        before = {name: role.pid for name, role in stack.roles.items()}
        *steps, doctor = recipe("A new version")
        for step in steps:
            reached = len(sender.acknowledged) + BETWEEN_STEPS

            async def is_loaded(reached: int = reached) -> bool:
                return load.done() or len(sender.acknowledged) >= reached

            await wait_until_async(is_loaded, 60, f"load before {step}")
            await operator.follow([step])
        stop.set()
        batches = await load
        assert all(role.pid != before[name] for name, role in stack.roles.items())
        for number in range(CUSTOMERS):
            await drained(tenant.core, f"user_{number}")
        expected = {key for batch in range(batches) for _, key, _ in events(f"{batch}", 2 * CUSTOMERS)}

        async def is_posted() -> bool:
            return keys_of(await posted(stack)) == expected

        await wait_until_async(is_posted, 60, "everything to be posted, once")
        assert (await stack.verify()).findings == []
        assert "account_adrift" not in stack.roles["jobs"].log_path.read_text()
        await operator.follow([doctor])
