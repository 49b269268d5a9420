"""The stream at its bound: usage is told to come back, nothing is dropped, and once it is posted everything goes on."""

from http import HTTPStatus
from pathlib import Path

import pytest

from tests.faults.customer import END_USER, FEATURE, Customer
from tests.flow.stack import open_session, running_stack
from tests.waiting import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

MOST_ENTRIES = 1_000
BATCH = 100
SECONDS = 30


async def test_a_stream_at_its_bound(tmp_path: Path) -> None:
    """Without a flusher so much is taken in and no more, and checks go on; with one again each event counts once."""
    async with (
        running_stack(tmp_path, STREAM_MAX_ENTRIES=str(MOST_ENTRIES), PARTITIONS="1") as stack,
        open_session() as session,
    ):
        customer = await Customer.make(await stack.tenant(session))
        await stack.kill("flusher")
        refused: list[dict[str, object]] = []
        for number in range(MOST_ENTRIES // BATCH + 2):
            events = [
                {"end_user_id": END_USER, "feature_key": FEATURE, "units": 1, "idempotency_key": f"{number}:{index}"}
                for index in range(BATCH)
            ]
            answer = await customer.tenant.edge.post("/v1/usage/batch", {"events": events})
            if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:  # nothing of it was decided
                assert answer.body["code"] == "backlog"
                refused += events
                continue
            for event, result in zip(events, answer.body["results"], strict=True):
                if result["status"] == "accepted":
                    customer.acknowledged[str(event["idempotency_key"])] = 1
                else:
                    assert result["code"] == "backlog"
                    refused.append(event)
        assert len(customer.acknowledged) <= MOST_ENTRIES < len(customer.acknowledged) + len(refused)
        single = await customer.tenant.edge.post("/v1/usage", refused[0])
        assert (single.status, single.body["code"]) == (HTTPStatus.SERVICE_UNAVAILABLE, "backlog")
        assert single.headers["Retry-After"] == "1"
        assert await customer.balance() == 1_000 - len(customer.acknowledged)
        stack.start("flusher")
        for event in refused:
            await customer.use(str(event["idempotency_key"]))
        assert len(customer.acknowledged) == MOST_ENTRIES + 2 * BATCH

        async def all_posted() -> bool:
            return (await stack.verify()).counts["events"] == len(customer.acknowledged)

        await wait_until_async(all_posted, SECONDS, "every event to be posted")
        assert (await stack.verify()).findings == []
