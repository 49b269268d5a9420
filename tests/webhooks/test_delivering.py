"""Events reach endpoints: in order, under one id, whatever is answered and whoever dies."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta

import pytest
from standardwebhooks.webhooks import Webhook

from app.io.outbound import Delivery, Failure
from app.jobs import deliver
from app.rules.retry import SCHEDULE_SECONDS
from app.rules.signature import derive_secret, show_secret
from app.trail.outbox import EventType
from app.webhooks.recording import LEASE
from tests.conftest import DatabaseUrls
from tests.waiting import wait_until_async
from tests.webhooks.stage import KEY, TAKEN, Sent, Stage, open_stage, refuse, take_all, url

HOUR = timedelta(hours=1)
CUSTOMERS = ("ada", "ben", "cem", None)


@pytest.fixture
async def stage(urls: DatabaseUrls) -> AsyncIterator[Stage]:
    """A stage of the test's own."""
    async with open_stage(urls) as opened:
        yield opened


def first_times(sent: Iterable[Sent], address: str) -> dict[str | None, list[int]]:
    """By customer, the numbers of what came to an address, without repeats."""
    found: dict[str | None, list[int]] = defaultdict(list)
    for each in sent:
        whose, sequence = each.order
        if each.url == address and sequence not in found[whose]:
            found[whose].append(sequence)
    return found


def is_in_order(numbers: Iterable[int]) -> bool:
    """Whether they count up from one."""
    return all(number == place for place, number in enumerate(numbers, 1))


async def test_an_event_is_told_as_it_is_and_signed(stage: Stage) -> None:
    """The standard's own library takes it; the body says what, when, whose, and its number."""
    endpoint_id = await stage.endpoint("a")
    await stage.tell("ada", number=7)
    await stage.delivered()
    [sent] = stage.sent
    webhook = Webhook(show_secret(derive_secret(KEY.encode(), endpoint_id, 1)))
    stage_now = sent.headers["webhook-timestamp"]
    assert int(stage_now) == int(stage.clock.now().timestamp())
    signed = webhook.sign(sent.id, stage.clock.now(), sent.raw.decode())
    assert sent.headers["webhook-signature"] == signed
    assert sent.body == {
        "type": "credits.granted",
        "timestamp": "2027-01-01T00:00:00Z",
        "end_user_id": "ada",
        "sequence": 1,
        "data": {"number": 7},
    }
    assert await stage.states() == [("delivered", 1)]


async def test_both_secrets_sign_while_one_takes_the_others_place(stage: Stage) -> None:
    """Until the moment that was set, and not from then on."""
    endpoint_id = await stage.endpoint("a")
    until = stage.clock.now() + HOUR
    await stage.owned("UPDATE webhook_endpoints SET secret_version = 2, rotated_until = $1", until)
    counts = []
    for _ in range(2):
        await stage.tell("ada")
        await stage.moved(timedelta())
        counts.append(len(stage.sent[-1].headers["webhook-signature"].split()))
        stage.clock.at = until
    assert counts == [2, 1]
    second = Webhook(show_secret(derive_secret(KEY.encode(), endpoint_id, 2)))
    last = stage.sent[-1]
    assert last.headers["webhook-signature"] == second.sign(last.id, until, last.raw.decode())


@pytest.mark.parametrize("seed", range(4))
async def test_order_is_kept_by_any_number_of_processes(stage: Stage, seed: int) -> None:
    """Strangers refuse at random; each customer's events come first in their order, and every one comes."""
    chance = random.Random(seed)
    names = ("a", "b", "c")
    for name in names:
        await stage.endpoint(name)

    async def moody(_sent: Sent) -> Delivery:
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
        return TAKEN if chance.random() < 0.7 else Delivery(500, b"", None, None, 1)

    stage.answers = {url(name): moody for name in names}
    for _ in range(40):
        await stage.tell(chance.choice(CUSTOMERS))
    await stage.placed()
    async with stage.delivering(3):
        for _ in range(8):
            await stage.quiet()
            stage.clock.at += timedelta(hours=20)
        stage.answers = {}
        for _ in range(3):
            await stage.quiet()
            stage.clock.at += timedelta(hours=28)
    assert {state for state, _ in await stage.states()} == {"delivered"}
    for name in names:
        found = first_times(stage.sent, url(name))
        assert sum(map(len, found.values())) == 40
        assert all(is_in_order(numbers) for numbers in found.values())
    await stage.waiting_is_right()


async def test_a_head_holds_back_its_own_queue_only(stage: Stage) -> None:
    """What one endpoint does not take of one customer delays neither others' events nor other endpoints."""
    for name in ("a", "b"):
        await stage.endpoint(name)

    async def not_of_ada(sent: Sent) -> Delivery:
        return await (refuse(500) if sent.body["end_user_id"] == "ada" else take_all)(sent)

    stage.answers[url("a")] = not_of_ada
    for customer in ("ada", "ada", "ben", "ben"):
        await stage.tell(customer)
    await stage.delivered()
    to_a = [each.order for each in stage.sent if each.url == url("a")]
    assert sorted(to_a, key=str) == [("ada", 1), ("ben", 1), ("ben", 2)]
    assert first_times(stage.sent, url("b")) == {"ada": [1, 2], "ben": [1, 2]}


async def test_an_environment_whose_endpoints_all_hang_leaves_slots_to_others(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many they are and however long they have waited: what another environment is told arrives meanwhile."""
    monkeypatch.setattr(deliver, "SLOTS", 40)
    monkeypatch.setattr(deliver, "ENVIRONMENT_SLOTS", 20)
    over = asyncio.Event()

    async def hang(_sent: Sent) -> Delivery:
        await over.wait()
        return Delivery(None, b"", None, Failure.TIMED_OUT, 15_000)

    for number in range(60):
        await stage.endpoint(f"slow{number}")
        stage.answers[url(f"slow{number}")] = hang
    await stage.endpoint("quick", environment_id=stage.other_id)
    for customer in ("ada", "ben"):
        await stage.tell(customer)
    await stage.placed()
    async with stage.delivering():
        await wait_until_async(lambda: _is(len(stage.sent) == 20), 20, "all of its slots to be taken")
        await stage.tell("eve", environment_id=stage.other_id)
        await stage.placed()
        await wait_until_async(lambda: _is(stage.sent[-1].url == url("quick")), 20, "the other to be told")
        assert len(stage.sent) == 21
        over.set()


async def _is(said: bool) -> bool:  # noqa: FBT001 - it is what is said
    return said


async def test_it_is_tried_by_the_schedule_and_then_parked(stage: Stage) -> None:
    """Ten attempts under one id; then the next of the queue has its turn."""
    await stage.endpoint("a")
    stage.answers[url("a")] = refuse(503)
    await stage.tell("ada")
    await stage.tell("ada")
    await stage.delivered()
    gaps = []
    for seconds in SCHEDULE_SECONDS[1:]:
        before = len(stage.sent)
        await stage.moved(timedelta(seconds=seconds - 1))
        gaps.append(len(stage.sent) - before)
        await stage.moved(timedelta(seconds=1 + seconds / 10))
    assert gaps == [0] * 9
    assert len({each.id for each in stage.sent[:10]}) == 1
    assert [each.order[1] for each in stage.sent] == [1] * 10 + [2]
    assert await stage.states() == [("parked", 10), ("pending", 1)]
    await stage.waiting_is_right()


async def test_what_an_answer_asks_for_is_heeded(stage: Stage) -> None:
    """Retry-After lengthens the wait."""
    await stage.endpoint("a")
    stage.answers[url("a")] = refuse(429, retry_after_seconds=600)
    await stage.tell("ada")
    await stage.delivered()
    await stage.moved(timedelta(seconds=599))
    assert len(stage.sent) == 1
    await stage.moved(timedelta(seconds=62))
    assert len(stage.sent) == 2


@pytest.mark.parametrize(
    ("status", "state"), [(200, "delivered"), (204, "delivered"), (302, "pending"), (404, "pending"), (None, "pending")]
)
async def test_what_an_answer_means(stage: Stage, status: int | None, state: str) -> None:
    """Any 2xx takes the event, and nothing else does; what was answered is kept."""
    await stage.endpoint("a")
    stage.answers[url("a")] = refuse(status)
    await stage.tell("ada")
    await stage.delivered()
    assert await stage.states() == [(state, 1)]
    [attempt] = await stage.owned("SELECT number, status, failure, answer, elapsed_ms FROM webhook_attempts")
    assert tuple(attempt) == (1, status, None if status else "timed_out", "no", 5)


async def test_an_endpoint_that_is_gone_is_told_nothing_more(stage: Stage) -> None:
    """A 410 disables it at once, and the others hear of that; enabled again it goes on where it was."""
    endpoint_id = await stage.endpoint("a")
    await stage.endpoint("b")
    stage.answers[url("a")] = refuse(410)
    await stage.tell("ada")
    await stage.delivered()
    await stage.tell("ada")
    await stage.moved(HOUR)
    assert [each.order for each in stage.sent if each.url == url("a")] == [("ada", 1)]
    told = [each.body for each in stage.sent if each.body["type"] == EventType.WEBHOOK_ENDPOINT_DISABLED]
    [disabled] = told
    assert disabled["data"]["webhook_endpoint_id"] == f"whe_{endpoint_id.hex}"
    assert disabled["data"]["reason"] == "gone"
    assert (disabled["end_user_id"], disabled["sequence"]) == (None, 1)
    stage.answers = {}
    await stage.owned("UPDATE webhook_endpoints SET enabled = true, disabled_at = NULL, disabled_reason = NULL")
    await stage.moved(HOUR)
    assert first_times(stage.sent, url("a")) == {"ada": [1, 2]}


async def test_an_endpoint_that_fails_for_days_is_disabled(stage: Stage) -> None:
    """One success in between, and the days are counted anew."""
    await stage.endpoint("a")
    await stage.endpoint("b")
    stage.answers[url("a")] = refuse(500)
    reasons = []
    for day in range(11):
        if day == 4:
            stage.answers = {}
        await stage.tell(f"customer {day}")
        await stage.moved(timedelta(days=1))
        stage.answers[url("a")] = refuse(500)
        rows = await stage.owned("SELECT disabled_reason FROM webhook_endpoints WHERE url = $1", url("a"))
        reasons.append(rows[0]["disabled_reason"])
    assert reasons == [None] * 10 + ["failing"]
    await stage.delivered()
    assert [each.url for each in stage.sent if each.body["type"] == EventType.WEBHOOK_ENDPOINT_DISABLED] == [url("b")]


async def test_an_hour_of_failures_and_then_everything_arrives(stage: Stage) -> None:
    """Nothing is lost, nothing is out of order."""
    await stage.endpoint("a")
    stage.answers[url("a")] = refuse(500)
    for minute in range(60):
        if minute % 6 == 0:
            await stage.tell("ada")
            await stage.tell(f"customer {minute}")
        await stage.moved(timedelta(minutes=1))
    stage.answers = {}
    await stage.moved(3 * HOUR)
    found = first_times(stage.sent, url("a"))
    assert found["ada"] == list(range(1, 11))
    assert {state for state, _ in await stage.states()} == {"delivered"}


@pytest.mark.parametrize("seed", range(6))
async def test_nothing_is_lost_when_processes_die(stage: Stage, seed: int) -> None:
    """They are killed anywhere; after their leases others send again, under the same ids, each queue in its order."""
    chance = random.Random(seed)
    await stage.endpoint("a")

    async def slow(_sent: Sent) -> Delivery:
        for _ in range(chance.randrange(20)):
            await asyncio.sleep(0)
        return TAKEN

    stage.answers[url("a")] = slow
    for _ in range(60):
        await stage.tell(chance.choice(CUSTOMERS))
    await stage.placed()
    for _ in range(4):
        async with stage.delivering(2) as tasks:
            count = len(stage.sent)

            async def some_more(count: int = count) -> bool:
                return len(stage.sent) >= min(count + 1 + chance.randrange(8), 60)

            await wait_until_async(some_more, 20, "some more to be sent")
            for _ in range(chance.randrange(30)):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
        stage.clock.at += LEASE
    await stage.delivered()
    assert {state for state, _ in await stage.states()} == {"delivered"}
    found = first_times(stage.sent, url("a"))
    assert sum(map(len, found.values())) == 60
    assert all(is_in_order(numbers) for numbers in found.values())
    ids = defaultdict(set)
    for each in stage.sent:
        ids[each.order].add(each.id)
    assert all(len(of_one) == 1 for of_one in ids.values())
    await stage.waiting_is_right()


async def test_events_go_where_they_are_wanted(stage: Stage) -> None:
    """By exact type, by family, all of them; never into another environment."""
    for name, types in (
        ("all", None),
        ("exact", ["customer.created"]),
        ("family", ["subscription.*", "topup.granted"]),
    ):
        await stage.endpoint(name, types)
    await stage.endpoint("other", None, stage.other_id)
    for event_type in (EventType.CUSTOMER_CREATED, EventType.SUBSCRIPTION_RENEWED, EventType.CREDITS_LOW):
        await stage.tell("ada", event_type)
    await stage.tell("zoe", EventType.CREDITS_LOW, stage.other_id)
    await stage.delivered()
    found = {(each.url, each.body["type"], each.order) for each in stage.sent}
    assert found == {
        (url("all"), "customer.created", ("ada", 1)),
        (url("all"), "subscription.renewed", ("ada", 2)),
        (url("all"), "credits.low", ("ada", 3)),
        (url("exact"), "customer.created", ("ada", 1)),
        (url("family"), "subscription.renewed", ("ada", 2)),
        (url("other"), "credits.low", ("zoe", 1)),
    }
