"""A reservation's calls sent again, sent late, and sent after Redis has forgotten: each charges once, if at all."""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

import pytest

from app.rules.credits import MICRO
from app.rules.pricing import PerUnitPrice, always
from app.wire import ids, keys
from app.wire.held import EndedReservation, Ending, Facts, restored_fields
from app.wire.reservations import ReservationState
from app.wire.snapshot import FeatureTerms
from tests.edge.test_reservations import opened, posted, refusal
from tests.edge.world import PRICE_ID, WINDOW_SECONDS, Answer, Tenant, now_at

pytestmark = pytest.mark.asyncio(loop_scope="session")

CALLS = {"commit": {"units": 4}, "release": {}}


async def make_due(tenant: Tenant, reservation_id: str, end_user_id: str = "user_1") -> None:
    """The account's clock stands where the reservation falls due: nobody has to wait for it."""
    due = int(await tenant.world.redis.hget(tenant.reservation_key(reservation_id), "due"))
    await tenant.world.redis.hset(tenant.account_key(end_user_id), "last_at", due)


async def make_long_due(tenant: Tenant, reservation_id: str, end_user_id: str = "user_1") -> None:
    """The reservation fell due a moment ago."""
    found = ids.parse("rsv", reservation_id)
    member, due = keys.due_member(tenant.ref, found), now_at() - 1
    await tenant.world.redis.zadd(keys.due(tenant.partition(end_user_id)), {member: due})
    await tenant.world.redis.hset(tenant.reservation_key(reservation_id), "due", due)


async def costs(tenant: Tenant) -> list[int]:
    """Of all entries of user_1, in credits."""
    return [entry.cost_micro // MICRO for entry in await posted(tenant)]


# ---- the opening


async def test_an_opening_is_replayed_byte_for_byte(tenant: Tenant) -> None:
    """Whatever has become of it since, wherever the key stands, whatever the plan says by now."""
    await tenant.seed("user_1", 1000)
    first = await tenant.reserve("user_1", "tokens", units=7000, idempotency_key="k")
    await tenant.seed("user_1", 5, tenant.plan(tokens=None))
    for verb in (None, "extend", "commit"):
        if verb:
            await tenant.change(first.body["reservation_id"], verb)
        again = await tenant.reserve("user_1", "tokens", units=7000, headers={"Idempotency-Key": "k"})
        assert (again.status, again.raw) == (201, first.raw)
        assert again.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    ("changed", "mismatch"),
    [
        ({"units": 8}, ["units"]),
        ({"units": None, "credits": 7}, ["units", "credits"]),
        ({"ttl_seconds": 601}, ["ttl_seconds"]),
        ({"properties": {"a": 2}}, ["properties"]),
        ({"units": 8, "ttl_seconds": 1, "properties": None}, ["units", "ttl_seconds", "properties"]),
    ],
    ids=str,
)
async def test_a_key_used_for_something_else(tenant: Tenant, changed: dict[str, Any], mismatch: list[str]) -> None:
    """422 that names what differs; nothing is reserved."""
    await tenant.seed("user_1", 1000)
    sent = {"units": 7, "idempotency_key": "k", "properties": {"a": 1}}
    await tenant.reserve("user_1", **sent)
    answer = await tenant.reserve("user_1", **{**sent, **changed})
    assert refusal(answer) == (422, "idempotency_key_reused")
    assert answer.body["mismatch"] == mismatch
    assert await costs(tenant) == [7]


async def test_a_refusal_is_remembered(tenant: Tenant) -> None:
    """19: the same 402 after a top-up, under the key; nothing can be done with its id."""
    await tenant.seed("user_1", 5)
    first = await tenant.reserve("user_1", units=7, idempotency_key="k")
    assert refusal(first) == (402, "insufficient_credits")
    await tenant.world.redis.hset(tenant.account_key("user_1"), "base", 1000 * MICRO)
    again = await tenant.reserve("user_1", units=7, idempotency_key="k")
    assert (again.status, again.raw, again.headers["Idempotent-Replayed"]) == (402, first.raw, "true")
    reservation_id = first.body["instance"]
    assert reservation_id.startswith("rsv_")
    answers = [await tenant.change(reservation_id, "commit"), await tenant.show(reservation_id)]
    assert [refusal(answer) for answer in answers] == [(404, "unknown_reservation")] * 2
    assert 0 < await tenant.world.redis.ttl(tenant.reservation_key(reservation_id)) <= WINDOW_SECONDS


async def test_a_hundred_twins_open_one(tenant: Tenant) -> None:
    """17: one effect, a hundred equal answers."""
    await tenant.seed("user_1", 1000)
    answers = await asyncio.gather(*(tenant.reserve("user_1", units=3, idempotency_key="k") for _ in range(100)))
    assert {(answer.status, answer.raw) for answer in answers} == {(201, answers[0].raw)}
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert await costs(tenant) == [3]


# ---- ends


@pytest.mark.parametrize("verb", CALLS)
async def test_an_end_sent_again(tenant: Tenant, verb: str) -> None:
    """The stored answer, byte for byte, whatever was used since; it charges nothing more."""
    await tenant.seed("user_1", 1000)
    reservation_id = await opened(tenant, units=10)
    first = await tenant.change(reservation_id, verb, **CALLS[verb])
    assert first.status == 200
    assert "Idempotent-Replayed" not in first.headers
    await tenant.use("user_1", units=5)
    for _ in range(4):  # both workers
        again = await tenant.change(reservation_id, verb, **CALLS[verb])
        assert (again.status, again.raw, again.headers["Idempotent-Replayed"]) == (200, first.raw, "true")
    assert len(await posted(tenant)) == 3
    assert 0 < await tenant.world.redis.ttl(tenant.reservation_key(reservation_id)) <= WINDOW_SECONDS


@pytest.mark.parametrize(
    ("first", "state", "others"),
    [
        (("commit", {"units": 4}), "committed", [("commit", {"units": 5}), ("commit", {}), ("release", {})]),
        (("release", {}), "released", [("commit", {"units": 4}), ("commit", {})]),
    ],
    ids=["committed", "released"],
)
async def test_another_end(
    tenant: Tenant, first: tuple[str, Any], state: str, others: list[tuple[str, dict[str, Any]]]
) -> None:
    """29: 409 that says how it ended; nor can it be extended."""
    await tenant.seed("user_1", 1000)
    reservation_id = await opened(tenant, units=10)
    await tenant.change(reservation_id, first[0], **first[1])
    for verb, body in [*others, ("extend", {"ttl_seconds": 60})]:
        answer = await tenant.change(reservation_id, verb, **body)
        assert refusal(answer) == (409, "reservation_ended")
        assert answer.body["context"] == {"state": state}
    assert len(await posted(tenant)) == 2


async def test_all_ends_at_once(tenant: Tenant) -> None:
    """One of them wins, its twins are answered alike, all others are told which it was."""
    await tenant.seed("user_1", 1000)
    for _ in range(10):
        reservation_id = await opened(tenant, units=10)
        calls = [("commit", {"units": 4}), ("commit", {"units": 6}), ("release", {})] * 4
        answers = await asyncio.gather(*(tenant.change(reservation_id, verb, **body) for verb, body in calls))
        assert Counter(answer.status for answer in answers) == {200: 4, 409: 8}
        assert len({answer.raw for answer in answers if answer.status == 200}) == 1
        assert len({answer.body["context"]["state"] for answer in answers if answer.status == 409}) == 1
    assert len(await posted(tenant)) == 20


# ---- past due


@pytest.mark.parametrize(("verb", "body"), [("release", {}), ("extend", {"ttl_seconds": 60})])
async def test_from_the_moment_at_which_it_falls_due_it_is_expired(
    tenant: Tenant, verb: str, body: dict[str, Any]
) -> None:
    """`now >= due`: whoever meets it expires it. A microsecond earlier it is open."""
    await tenant.seed("user_1", 1000)
    early = await opened(tenant, units=10)
    await make_due(tenant, early)
    await tenant.world.redis.hincrby(tenant.account_key("user_1"), "last_at", -1)
    assert (await tenant.change(early, verb, **body)).status == 200
    reservation_id = await opened(tenant, units=10)
    await make_due(tenant, reservation_id)
    answer = await tenant.change(reservation_id, verb, **body)
    assert refusal(answer) == (409, "reservation_ended")
    assert answer.body["context"] == {"state": "expired"}
    entry = (await posted(tenant))[-1]
    assert (entry.reservation.__class__.__name__, entry.cost_micro) == ("ReservationEnd", -10 * MICRO)
    shown = (await tenant.show(reservation_id)).body
    assert (shown["state"], shown["charged"], shown["released"], shown["late"]) == ("expired", 0, 10, False)


async def test_who_looks_at_it_expires_it(tenant: Tenant) -> None:
    """GET never shows as open what is past due."""
    await tenant.seed("user_1", 1000)
    reservation_id = await opened(tenant, units=10)
    await make_long_due(tenant, reservation_id)
    assert (await tenant.show(reservation_id)).body["state"] == "expired"
    assert (await tenant.check("user_1")).body["balance"] == 1000


async def test_nobody_is_refused_for_what_is_past_due(tenant: Tenant) -> None:
    """Before a 402, and before 'too many', reservations that are past due are expired: 250 of them as well as one."""
    await tenant.seed("user_1", 250)
    made = await asyncio.gather(*(opened(tenant, units=1) for _ in range(250)))
    for reservation_id in made:
        await make_long_due(tenant, reservation_id)
    answer = await tenant.reserve("user_1", units=250)
    assert (answer.status, answer.body["balance"]) == (201, 0)
    assert (await tenant.account("user_1"))["open"] == "1"
    await make_long_due(tenant, answer.body["reservation_id"])
    await tenant.world.redis.hset(tenant.account_key("user_1"), "open", 10_000)
    assert (await tenant.reserve("user_1", units=1)).status == 201


async def test_a_late_commit_is_usage_once(tenant: Tenant) -> None:
    """It is charged in full at the pinned price, under the reservation's id, and answered again."""
    await tenant.seed("user_1", 1000)
    reservation_id = await opened(tenant, units=10)
    await make_due(tenant, reservation_id)
    first = await tenant.change(reservation_id, "commit", units=4)
    ended = {"state": "expired", "charged": 4, "released": 0, "balance": 996, "late": True}
    assert first.body == {"reservation_id": reservation_id, **ended}
    again = await tenant.change(reservation_id, "commit", units=4)
    assert (again.raw, again.headers["Idempotent-Replayed"]) == (first.raw, "true")
    for verb, body in (("commit", {"units": 5}), ("release", {})):
        answer = await tenant.change(reservation_id, verb, **body)
        assert (answer.status, answer.body["context"]) == (409, {"state": "expired"})
    assert await costs(tenant) == [10, -10, 4]
    usage = (await posted(tenant))[-1].payload
    assert usage is not None
    assert (usage.event_id, usage.price_id) == (ids.parse("rsv", reservation_id), PRICE_ID)
    assert (usage.units_micro, usage.idempotency_key) == (4 * MICRO, None)
    shown = (await tenant.show(reservation_id)).body
    assert (shown["state"], shown["charged"], shown["released"], shown["late"]) == ("expired", 4, 0, True)


async def test_late_commits_at_once(tenant: Tenant) -> None:
    """Twenty on both workers: one event."""
    await tenant.seed("user_1", 1000)
    reservation_id = await opened(tenant, credits=10)
    await make_long_due(tenant, reservation_id)
    answers = await asyncio.gather(*(tenant.change(reservation_id, "commit") for _ in range(20)))
    assert {answer.raw for answer in answers} == {answers[0].raw}
    assert await costs(tenant) == [10, -10, 10]


@pytest.mark.parametrize(("price_micro", "units"), [(MICRO, 0), (0, 7)])
async def test_a_late_commit_that_costs_nothing(tenant: Tenant, price_micro: int, units: int) -> None:
    """Nothing was used, or it is free: an event all the same, as of a commit in time, with its units."""
    price = always(PRICE_ID, PerUnitPrice(price_micro))
    await tenant.seed("user_1", 1000, plan=tenant.plan(api_calls=FeatureTerms(price, included=True)))
    reservation_id = await opened(tenant, units=10)
    await make_due(tenant, reservation_id)
    answer = await tenant.change(reservation_id, "commit", units=units)
    assert (answer.status, answer.body["charged"], answer.body["late"]) == (200, 0, True)
    entries = await posted(tenant)
    events = [(entry.payload.units_micro, entry.cost_micro) for entry in entries if entry.payload is not None]
    assert events == [(units * MICRO, 0)]


# ---- what Redis has forgotten


def stored_twin(tenant: Tenant, reservation_id: str, state: ReservationState, late: Ending | None) -> EndedReservation:
    """What the ledger knows of a reservation of 10 units by user_1 that has ended."""
    ref = keys.account_ref(tenant.ref, "user_1")
    facts = Facts("api_calls", in_credits=False, units_micro=10 * MICRO, price_id=PRICE_ID, price=PerUnitPrice(MICRO))
    used_micro = 4 * MICRO if state is ReservationState.COMMITTED else 0
    assert state is not ReservationState.OPEN
    ending = Ending(state, used_micro, used_micro)
    found = ids.parse("rsv", reservation_id)
    return EndedReservation(found, ref, facts, 10 * MICRO, 77 * MICRO, ending, late, 990 * MICRO, None)


def core_restores(tenant: Tenant, ended: EndedReservation) -> None:
    """Core puts the reservation back when it is asked."""

    async def load(question: dict[str, Any]) -> str:
        assert question["environment_id"] == str(tenant.environment_id)
        key = tenant.reservation_key(ids.show("rsv", UUID(question["reservation_id"])))
        fields = restored_fields(ended)
        await tenant.world.redis.hset(key, mapping=dict(zip(fields[::2], fields[1::2], strict=True)))
        return "loaded"

    tenant.world.core.answers["reservations"] = load


@pytest.mark.parametrize(
    ("state", "late", "answers"),
    [
        ("committed", None, [(200, 4, False), (409, None, None)]),
        ("released", None, [(409, None, None), (200, 0, False)]),
        ("expired", None, [(200, 4, True), (409, None, None)]),
        ("expired", Ending(ReservationState.COMMITTED, 4 * MICRO, 4 * MICRO), [(200, 4, True), (409, None, None)]),
    ],
    ids=["committed", "released", "expired", "late"],
)
async def test_an_end_is_known_after_the_window(
    tenant: Tenant, state: str, late: Ending | None, answers: list[tuple[int, int | None, bool | None]]
) -> None:
    """32: core puts back what the ledger knows, on a worker that knows the id and on one that does not."""
    await tenant.seed("user_1", 1000)
    reservation_id = await opened(tenant, units=10)
    await tenant.world.redis.delete(tenant.reservation_key(reservation_id))
    core_restores(tenant, stored_twin(tenant, reservation_id, ReservationState(state), late))
    found: list[Answer] = []
    for verb, body in CALLS.items():
        found += [await tenant.change(reservation_id, verb, **body) for _ in range(3)]
    told = [(answer.status, answer.body.get("charged"), answer.body.get("late")) for answer in found]
    assert told == [answers[0]] * 3 + [answers[1]] * 3
    is_new = state == "expired" and late is None
    assert len(await posted(tenant)) == 1 + is_new
    assert (await tenant.show(reservation_id)).body["state"] == state


async def test_an_open_reservation_is_known_after_a_loss(tenant: Tenant) -> None:
    """Redis has lost everything: core brings the account with it, and what comes back is the ledger's to say."""
    await tenant.seed("user_1", 1000)
    reservation_id = await opened(tenant, units=10, idempotency_key="k")
    kept = await tenant.world.redis.hgetall(tenant.reservation_key(reservation_id))
    account = await tenant.world.redis.hgetall(tenant.account_key("user_1"))
    await tenant.world.redis.delete(tenant.reservation_key(reservation_id), tenant.account_key("user_1"))

    async def load(_: dict[str, Any]) -> str:
        facts = {name: kept[name] for name in (b"state", b"ref", b"facts", b"reserved", b"due")}
        await tenant.world.redis.hset(tenant.reservation_key(reservation_id), mapping={**facts, b"until": 0})
        await tenant.world.redis.hset(tenant.account_key("user_1"), mapping=account)
        return "loaded"

    tenant.world.core.answers |= {"reservations": load, "accounts": load}
    again = await tenant.reserve("user_1", units=10, idempotency_key="k")
    assert (again.status, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert (again.body["reservation_id"], again.body["reserved"], again.body["balance"]) == (reservation_id, 10, 990)
    body = (await tenant.change(reservation_id, "commit", units=4)).body
    assert (body["charged"], body["released"], body["balance"]) == (4, 6, 990)
    assert await costs(tenant) == [10, 0]


@pytest.mark.parametrize("first", [{"units": 10}, {"credits": 10}])
async def test_a_worker_that_remembers_what_was_reserved_before(tenant: Tenant, first: dict[str, Any]) -> None:
    """The key came again after Redis had forgotten it: each worker ends what is open now, at its price."""
    for number in range(8):  # both workers meet the first
        await tenant.seed("user_1", 1000)
        key = f"k{number}"
        reservation_id = await opened(tenant, **first, idempotency_key=key)
        for _ in range(4):
            await tenant.change(reservation_id, "extend", ttl_seconds=60)
        await tenant.change(reservation_id, "release")
        await tenant.world.redis.delete(tenant.reservation_key(reservation_id))
        dear = FeatureTerms(always(PRICE_ID, PerUnitPrice(5 * MICRO)), included=True)
        await tenant.seed("user_1", 1000, tenant.plan(api_calls=dear))
        assert await opened(tenant, units=4, idempotency_key=key) == reservation_id
        assert (await tenant.show(reservation_id)).body["units"] == 4
        body = (await tenant.change(reservation_id, "commit", **({"units": 3} if number % 2 else {}))).body
        assert (body["state"], body["charged"]) == ("committed", 15 if number % 2 else 20)


async def test_what_core_put_back_is_answered_though_the_plan_has_it_no_more(tenant: Tenant) -> None:
    """A repeat is no new decision."""
    await tenant.seed("user_1", 1000)
    reservation_id = await opened(tenant, units=10, idempotency_key="k")
    await tenant.world.redis.hdel(tenant.reservation_key(reservation_id), "asked", "opening")
    account = await tenant.world.redis.hgetall(tenant.account_key("user_1"))
    await tenant.seed("user_1", 1000, tenant.plan(api_calls=None))
    figures = {name: account[name] for name in (b"base", b"accepted", b"applied")}
    await tenant.world.redis.hset(tenant.account_key("user_1"), mapping=figures)
    again = await tenant.reserve("user_1", units=10, idempotency_key="k")
    assert (again.status, again.body["reservation_id"], again.body["balance"]) == (201, reservation_id, 990)
    assert (await tenant.reserve("user_1", units=10, idempotency_key="new")).status == 404


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        ("unknown", (404, "unknown_reservation")),
        ("busy", (503, "account_loading")),
        ("broken", (503, "account_unavailable")),
        ("loaded", (503, "account_unavailable")),
    ],
)
async def test_a_reservation_that_core_does_not_bring(tenant: Tenant, status: str, answer: tuple[int, str]) -> None:
    """Known before or not, on every route; where core says that it is there when it is not, asked a few times."""

    async def load(_: object) -> str:
        return status

    await tenant.seed("user_1", 1000)
    known = await opened(tenant, units=10)
    await tenant.world.redis.delete(tenant.reservation_key(known))
    tenant.world.core.answers["reservations"] = load
    for reservation_id in (known, ids.show("rsv", ids.in_partition(UUID(int=5), 3))):
        answers = [await tenant.change(reservation_id, verb) for verb in ("commit", "release", "extend")]
        answers.append(await tenant.show(reservation_id))
        assert [refusal(one) for one in answers] == [answer] * 4
    assert await costs(tenant) == [10]


async def test_another_environment_finds_nothing(tenant: Tenant) -> None:
    """20: its key does not know the id."""
    await tenant.seed("user_1", 1000)
    reservation_id = await opened(tenant, units=10)
    other = await tenant.world.tenant()
    assert refusal(await other.change(reservation_id, "release")) == (404, "unknown_reservation")
    assert refusal(await other.show(reservation_id)) == (404, "unknown_reservation")
    assert (await tenant.show(reservation_id)).body["state"] == "open"


async def test_an_account_that_is_not_loaded(tenant: Tenant) -> None:
    """The end has it loaded, and goes on."""
    await tenant.seed("user_1", 1000)
    reservation_id = await opened(tenant, units=10)
    account = await tenant.world.redis.hgetall(tenant.account_key("user_1"))
    await tenant.world.redis.delete(tenant.account_key("user_1"))

    async def load(_: object) -> str:
        await tenant.world.redis.hset(tenant.account_key("user_1"), mapping=account)
        return "loaded"

    tenant.world.core.answers["accounts"] = load
    assert (await tenant.change(reservation_id, "release")).body["balance"] == 1000
