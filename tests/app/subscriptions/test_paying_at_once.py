"""One payment that is told of for two customers at the very same moment, in two partitions: it does one thing."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from app.flusher.reading import Reader
from app.rules.moments import to_at
from app.subscriptions import store
from app.wire import keys
from app.wire.codes import Code
from app.wire.events import UsagePayload, encode_usage
from tests.app.subscriptions.studio import WAIT_SECONDS, Studio
from tests.app.web.test_problems import assert_problem
from tests.waiting import wait_until_async

CUSTOMERS = ("u", "v")


def stream_of(studio: Studio, end_user_id: str) -> bytes:
    """The stream of the customer's partition."""
    return keys.stream(studio.core.parts.redis.partition(ref_of(studio, end_user_id)))


def ref_of(studio: Studio, end_user_id: str) -> bytes:
    """The customer's name in Redis."""
    return keys.account_ref(keys.environment_ref(studio.tenant.environment_id), end_user_id)


async def prepared(studio: Studio) -> list[Any]:
    """A subscription of each customer."""
    assert len({stream_of(studio, end_user_id) for end_user_id in CUSTOMERS}) == len(CUSTOMERS)
    variant = await studio.plan("pro", 100)
    return [await studio.subscribe(variant, end_user_id) for end_user_id in CUSTOMERS]


def pay(studio: Studio, made: Any) -> asyncio.Task[httpx.Response]:
    """Renew with the one payment."""
    path = f"/v1/subscriptions/{made['subscription_id']}/renew"
    return asyncio.create_task(studio.client.post(path, {"payment_reference": "pay_1"}))


async def one_is_refused(studio: Studio, subscriptions: list[Any], answers: list[httpx.Response]) -> None:
    """One is renewed, the other is told why it is not, whichever it is; and nothing was written off."""
    assert sorted(answer.status_code for answer in answers) == [200, 409], [answer.text for answer in answers]
    for made, answer in zip(subscriptions, answers, strict=True):
        is_done = answer.status_code == httpx.codes.OK
        if not is_done:
            assert_problem(answer, Code.PAYMENT_REFERENCE_USED)
        assert (await studio.show(made))["renewed"] == is_done
        assert len(await studio.history(made)) == 1 + is_done
        await studio.edge_follows(made["end_user_id"])
    assert (await studio.client.read("/v1/usage/rejected"))["data"] == []


async def pay_at_once(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, subscriptions: list[Any], partitions: int
) -> list[httpx.Response]:
    """What both are answered whose orders are in their streams before the flusher reads so many partitions at once."""
    read, is_held, is_open = Reader.read, asyncio.Event(), asyncio.Event()

    async def read_when_open(*asked: Any) -> Any:
        is_held.set()
        return dict([*(await read(*asked)).items()][:partitions]) if is_open.is_set() else {}

    async def ends() -> list[str]:
        redis, names = studio.core.parts.redis.client, [stream_of(studio, each) for each in CUSTOMERS]
        return [(await redis.xinfo_stream(name))["last-generated-id"] for name in names]

    async def are_appended() -> bool:
        return all(end != before for end, before in zip(await ends(), ended, strict=True))

    monkeypatch.setattr(Reader, "read", read_when_open)
    await asyncio.wait_for(is_held.wait(), WAIT_SECONDS)
    ended = await ends()
    tasks = [pay(studio, made) for made in subscriptions]
    await wait_until_async(are_appended, WAIT_SECONDS, "both orders are in their streams")
    is_open.set()
    return await asyncio.gather(*tasks)


async def test_in_one_batch(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flusher reads both orders at once."""
    subscriptions = await prepared(studio)
    await one_is_refused(studio, subscriptions, await pay_at_once(studio, monkeypatch, subscriptions, 2))


@pytest.mark.parametrize("is_repeated", [False, True])
async def test_in_two_batches(studio: Studio, monkeypatch: pytest.MonkeyPatch, *, is_repeated: bool) -> None:
    """Neither sees the other's payment when it decides; perhaps after events that came twice, as after a loss."""
    subscriptions = await prepared(studio)
    find, insert, asked, has_other = store.find_payments, store.insert_history, list[int](), asyncio.Event()

    async def find_and_say(*of: Any) -> Any:
        found = await find(*of)
        asked.append(len(found))
        if len(asked) == len(CUSTOMERS):
            has_other.set()
        return found

    async def insert_after_the_other(tx: Any, changes: Any) -> None:
        if changes:
            await asyncio.wait_for(has_other.wait(), WAIT_SECONDS)
        await insert(tx, changes)

    if is_repeated:
        await repeat_an_event(studio)
    monkeypatch.setattr(store, "find_payments", find_and_say)
    monkeypatch.setattr(store, "insert_history", insert_after_the_other)
    await one_is_refused(studio, subscriptions, await pay_at_once(studio, monkeypatch, subscriptions, 1))
    assert asked == [0, 0, 1]


async def repeat_an_event(studio: Studio) -> None:
    """The stream has an event twice, which costs nothing; the flusher knows by then that events come twice."""
    view, at = await studio.view(), to_at(await studio.now())
    usage = UsagePayload(uuid4(), "api_calls", 0, UUID(int=1), None, None, None)
    fields = {"a": ref_of(studio, "u"), "k": "u", "t": at, "r": view.revision, "c": 0, "p": encode_usage(usage)}
    async with studio.core.parts.redis.client.pipeline(transaction=True) as pipeline:
        for _ in range(2):
            pipeline.xadd(stream_of(studio, "u"), fields)
        await pipeline.execute()
    revision = view.revision

    async def is_posted() -> bool:
        return (await studio.view()).revision > revision

    await wait_until_async(is_posted, WAIT_SECONDS, "both are published")
