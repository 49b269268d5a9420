"""What is set for an environment: read, changed, refused, and kept true by what is published later."""

import asyncio
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from app.environments import service
from app.environments.store import FreePlan
from app.io.postgres import Database, Transaction
from app.wire.codes import Code
from app.wire.ids import parse
from tests.app.core import Client, Core, Tenant
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls

PATH = "/v1/environment"
NOTHING: dict[str, Any] = {"free_plan_variant_id": None, "auto_enroll": False, "thresholds": []}
FREE = {"interval": "month", "billing_mode": "postpaid"}
VERSIONS = "/v1/plans/free/variants/monthly/versions"
SOME = [{"credits": 500}, {"percent": 20}, {"credits": 0.000001}, {"percent": 99}]


async def change(client: Client, **changes: Any) -> Any:
    """The body of a change that has to succeed."""
    answer = await client.send("PATCH", PATH, json=changes)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refused(client: Client, code: Code, field: str | None, **changes: Any) -> str:
    """Why a change is refused."""
    return assert_problem(await client.send("PATCH", PATH, json=changes), code, field)["detail"]


async def make_variant(client: Client, kind: str = "base", **terms: Any) -> str:
    """The id of the variant `monthly` of the plan `free`."""
    await client.made("/v1/plans", {"key": "free", "name": "Free", "kind": kind})
    return (await client.made("/v1/plans/free/variants", {"key": "monthly", **FREE, **terms}))["plan_variant_id"]


async def read_free_plan(database: Database, environment: UUID | None, environment_id: UUID) -> FreePlan | None:
    """The free plan, as a process sees it that works in `environment`, or in none."""

    async def work(tx: Transaction) -> FreePlan | None:
        return (await service.list_free_plans(tx, [environment_id])).get(environment_id)

    return await database.run(environment, work)


async def test_nothing_is_set_at_first(tenant: Tenant) -> None:
    """Both environments answer who they are, and the defaults."""
    of_key = {"sandbox": tenant.sandbox, "live": tenant.live}
    for kind, client in of_key.items():
        head = {"environment_id": tenant.made[f"{kind}_environment_id"], "kind": kind}
        assert await client.read(PATH) == head | NOTHING
        assert await change(client) == head | NOTHING


async def test_what_is_sent_changes_and_the_rest_stays(tenant: Tenant) -> None:
    """One by one and together; null is no free plan, an empty list no thresholds. The other environment has its own."""
    variant = await make_variant(tenant.sandbox)
    now = await tenant.sandbox.read(PATH)
    for sent in (
        {"free_plan_variant_id": variant},
        {"auto_enroll": True},
        {"thresholds": SOME},
        {"thresholds": SOME[:1]},
        {"auto_enroll": False, "free_plan_variant_id": None},
        {"auto_enroll": True, "free_plan_variant_id": variant},
        {"thresholds": []},
        NOTHING,
    ):
        now |= sent
        assert await change(tenant.sandbox, **sent) == now
        assert await tenant.sandbox.read(PATH) == now
    await change(tenant.sandbox, thresholds=SOME)
    assert (await tenant.live.read(PATH))["thresholds"] == []


async def test_changes_at_once_are_all_kept(tenant: Tenant) -> None:
    """Each of another thing, the first ones of the environment too."""
    variant = await make_variant(tenant.sandbox)
    await asyncio.gather(
        change(tenant.sandbox, free_plan_variant_id=variant),
        change(tenant.sandbox, thresholds=SOME),
        *[change(tenant.sandbox) for _ in range(6)],
    )
    now = await tenant.sandbox.read(PATH)
    assert (now["free_plan_variant_id"], now["thresholds"]) == (variant, SOME)


async def test_a_change_is_made_once_under_its_key(tenant: Tenant) -> None:
    """The replay answers what was answered, though something else is set by then."""
    send = partial(tenant.sandbox.send, "PATCH", PATH, headers={"idempotency-key": "k"}, json={"thresholds": SOME})
    first = await send()
    await change(tenant.sandbox, thresholds=[])
    again = await send()
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    assert (await tenant.sandbox.read(PATH))["thresholds"] == []


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"thresholds": [{"credits": 1}] * 11}, Code.INVALID_VALUE, "thresholds"),
        ({"thresholds": [{}]}, Code.INVALID_VALUE, "thresholds[0]"),
        ({"thresholds": [{"credits": 1}, {"credits": 2, "percent": 2}]}, Code.INVALID_VALUE, "thresholds[1]"),
        ({"thresholds": [{"credits": 1}, {"percent": 2}, {"credits": 1.0}]}, Code.INVALID_VALUE, "thresholds[2]"),
        ({"thresholds": [{"credits": 0}]}, Code.INVALID_VALUE, "thresholds[0].credits"),
        ({"thresholds": [{"credits": -1}]}, Code.INVALID_VALUE, "thresholds[0].credits"),
        ({"thresholds": [{"percent": 0}]}, Code.INVALID_VALUE, "thresholds[0].percent"),
        ({"thresholds": [{"percent": 100}]}, Code.INVALID_VALUE, "thresholds[0].percent"),
        ({"thresholds": [{"units": 1}]}, Code.UNKNOWN_FIELD, "thresholds[0].units"),
        ({"thresholds": None}, Code.INVALID_BODY, "thresholds"),
        ({"auto_enroll": None}, Code.INVALID_BODY, "auto_enroll"),
        ({"auto_enrol": True}, Code.UNKNOWN_FIELD, "auto_enrol"),
        ({"auto_enroll": True}, Code.INVALID_VALUE, "auto_enroll"),
        ({"free_plan_variant_id": "free"}, Code.INVALID_VALUE, "free_plan_variant_id"),
        ({"free_plan_variant_id": f"var_{1:032x}"}, Code.NOT_FOUND, None),
    ],
)
async def test_what_cannot_be_set(tenant: Tenant, changes: dict[str, Any], code: Code, field: str | None) -> None:
    """Each is refused by name, and nothing is set: not what stood beside it either."""
    await refused(tenant.sandbox, code, field, **({"thresholds": SOME} | changes))
    assert (await tenant.sandbox.read(PATH)) | NOTHING == await tenant.sandbox.read(PATH)


async def test_auto_enrolment_needs_its_plan(tenant: Tenant) -> None:
    """The plan cannot go while end users are enrolled in it."""
    await change(tenant.sandbox, free_plan_variant_id=await make_variant(tenant.sandbox), auto_enroll=True)
    await refused(tenant.sandbox, Code.INVALID_VALUE, "auto_enroll", free_plan_variant_id=None)
    assert (await tenant.sandbox.read(PATH))["free_plan_variant_id"] is not None


@pytest.mark.parametrize(
    ("kind", "terms", "why"),
    [
        ("addon", {}, "its kind must be base"),
        ("base", {"billing_mode": "prepaid"}, "its billing_mode must be postpaid"),
        ("base", {"trial_days": 1}, "its trial_days must be 0"),
    ],
)
async def test_what_cannot_be_the_free_plan(tenant: Tenant, kind: str, terms: dict[str, Any], why: str) -> None:
    """The detail says which variant it is, and which term of it does not fit."""
    variant = await make_variant(tenant.sandbox, kind, **terms)
    field = "free_plan_variant_id"
    detail = await refused(tenant.sandbox, Code.INVALID_VALUE, field, free_plan_variant_id=variant)
    assert "'monthly' of the plan 'free', version 1" in detail
    assert why in detail


async def test_another_environments_plan_is_none(tenant: Tenant) -> None:
    """404, as if it were nowhere."""
    variant = await make_variant(tenant.live)
    await refused(tenant.sandbox, Code.NOT_FOUND, None, free_plan_variant_id=variant)


async def test_the_free_plan_stays_free(tenant: Tenant) -> None:
    """What the setting refuses, the next version refuses, while the variant is the free plan and no longer."""
    variant = await make_variant(tenant.sandbox)
    await change(tenant.sandbox, free_plan_variant_id=variant)
    for terms, field in (({"billing_mode": "prepaid"}, "billing_mode"), ({"trial_days": 1}, "trial_days")):
        assert_problem(await tenant.sandbox.post(VERSIONS, FREE | terms), Code.INVALID_VALUE, field)
    assert (await tenant.sandbox.made(VERSIONS, FREE))["version"] == 2
    await tenant.sandbox.made("/v1/plans/free/variants", {"key": "other", "interval": "month"})
    await change(tenant.sandbox, free_plan_variant_id=None)
    assert (await tenant.sandbox.made(VERSIONS, FREE | {"trial_days": 1}))["version"] == 3
    await refused(tenant.sandbox, Code.INVALID_VALUE, "free_plan_variant_id", free_plan_variant_id=variant)


async def test_of_a_setting_and_a_version_at_once_one_is_refused(tenant: Tenant) -> None:
    """Whichever comes first: the free plan's present version is free."""
    variant = await make_variant(tenant.sandbox)
    for _ in range(8):
        await tenant.sandbox.made(VERSIONS, FREE)
        answers = await asyncio.gather(
            tenant.sandbox.send("PATCH", PATH, json={"free_plan_variant_id": variant}),
            tenant.sandbox.post(VERSIONS, FREE | {"trial_days": 1}),
        )
        assert sorted(answer.status_code for answer in answers) in ([200, 422], [201, 422]), answers
        await change(tenant.sandbox, free_plan_variant_id=None)


async def test_the_free_plan_is_found_by_core_and_flusher(core: Core, tenant: Tenant, urls: DatabaseUrls) -> None:
    """Its variant, its plan and its present version, in the environment that is asked for."""
    variant = await make_variant(tenant.sandbox)
    await change(tenant.sandbox, free_plan_variant_id=variant)
    flusher = await Database.open(urls.of("quotastack_flusher"), "flusher", 1)
    try:
        found = await read_free_plan(flusher, None, tenant.environment_id)
        none = await read_free_plan(flusher, None, parse("env", tenant.made["live_environment_id"]))
        first = await read_free_plan(core.parts.database, tenant.environment_id, tenant.environment_id)
        await tenant.sandbox.made(VERSIONS, FREE)
        second = await read_free_plan(flusher, None, tenant.environment_id)
    finally:
        await flusher.close()
    plan = await tenant.sandbox.read("/v1/plans/free")
    assert found is not None
    assert (found.variant_id, found.plan_id) == (parse("var", variant), parse("plan", plan["plan_id"]))
    assert (none, first) == (None, found)
    assert second is not None
    assert second.version_id != found.version_id
