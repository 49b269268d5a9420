"""Why an answer is no, and what each route makes of it: the whole table of reasons, in order of precedence."""

import pytest

from app.rules.entitlement import Standing
from tests.edge.kinds import acquire, plan_of_kinds
from tests.edge.world import Answer, Tenant

pytestmark = pytest.mark.asyncio(loop_scope="session")

# In each situation everything below it is wrong too, as far as that can be, so that the order shows.
REASONS = """
situation            | check | check gauge | usage | enforce | reserve | acquire
unknown_customer     | no    | no          | 404   | 404     | 404     | 404
unknown_feature      | no    | no          | 404   | 404     | 404     | 404
no_subscription      | no    | no          | 403   | 403     | 403     | 403
subscription_paused  | no    | no          | 202   | 403     | 403     | 403
subscription_overdue | no    | no          | 202   | 403     | 403     | 403
feature_not_in_plan  | no    | no          | 202   | 403     | 403     | 403
limit_reached        | yes   | no          | 202   | 202     | 201     | 402
insufficient_credits | no    | yes         | 202   | 402     | 402     | 200
none                 | yes   | yes         | 202   | 202     | 201     | 200
"""
LEFT_OUT = ("subscription_paused", "subscription_overdue", "feature_not_in_plan")
WITH_CREDIT, WITH_ROOM = ("limit_reached", "none"), ("insufficient_credits", "none")


def rows(table: str) -> list[list[str]]:
    """Cells of a text table, without its head."""
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()[1:]]


def features(situation: str) -> tuple[str, str]:
    """(a metered feature, a gauge) to ask about."""
    if situation == "unknown_feature":
        return "no-such", "no-such"
    if situation == "no_subscription":
        return "unpriced", "bare_seats"
    return ("extra", "extra_seats") if situation in LEFT_OUT else ("api_calls", "seats")


async def arrange(tenant: Tenant, situation: str) -> str:
    """A customer in this situation."""
    if situation == "unknown_customer":
        return "nobody"
    standing = Standing(situation) if situation.startswith("subscription_") else Standing.OK
    subscribed, cap = situation != "no_subscription", 10 if situation in WITH_ROOM else 0
    plan = plan_of_kinds(tenant, cap=cap, subscribed=subscribed, standing=standing)
    await tenant.seed("u", 10 if situation in WITH_CREDIT else 0, plan)
    return "u"


def said(answer: Answer) -> str:
    """An answer in few words."""
    return f"{answer.status} {answer.body['code']}" if answer.status >= 400 else str(answer.status)


async def ask(tenant: Tenant, user: str, feature_key: str) -> str:
    """A check, by itself and in a batch: both say the same."""
    question = {"end_user_id": user, "feature_key": feature_key}
    alone = (await tenant.check(**question)).body
    batch = await tenant.send("POST", "/v1/entitlements/check", json={"checks": [question]})
    assert batch.body["results"] == [alone]
    return "yes" if alone["allowed"] else f"no {alone['reason']}"


async def ask_about_gauge(tenant: Tenant, user: str, feature_key: str) -> str:
    """The same of a gauge."""
    return await ask(tenant, user, feature_key)


async def use(tenant: Tenant, user: str, feature_key: str) -> str:
    """Usage after the fact."""
    return said(await tenant.use(user, feature_key))


async def use_enforced(tenant: Tenant, user: str, feature_key: str) -> str:
    """Usage that is to be refused where it may not be."""
    return said(await tenant.use(user, feature_key, enforce=True))


async def reserve(tenant: Tenant, user: str, feature_key: str) -> str:
    """Credit that is to be set aside."""
    body = {"end_user_id": user, "feature_key": feature_key, "units": 1}
    return said(await tenant.send("POST", "/v1/reservations", json=body))


async def hold(tenant: Tenant, user: str, feature_key: str) -> str:
    """One unit of a gauge."""
    return said(await acquire(tenant, user, "holder", feature_key))


ROUTES = (ask, ask_about_gauge, use, use_enforced, reserve, hold)
DONE = ("200", "201", "202")
OF_GAUGES = (ask_about_gauge, hold)


@pytest.mark.parametrize("row", rows(REASONS), ids=lambda row: row[0])
@pytest.mark.parametrize("column", range(len(ROUTES)), ids=[route.__name__ for route in ROUTES])
async def test_reasons(tenant: Tenant, row: list[str], column: int) -> None:
    """One route in one situation: what it answers, and that a refusal leaves nothing behind."""
    situation, route, cell = row[0], ROUTES[column], row[1 + column]
    user = await arrange(tenant, situation)
    answer = await route(tenant, user, features(situation)[route in OF_GAUGES])
    assert answer == (cell if cell in ("yes", *DONE) else f"{cell} {situation}")
    assert len(await tenant.entries(user)) == (cell in DONE)


async def test_usage_without_a_price_is_refused_for_that(tenant: Tenant) -> None:
    """There is nothing to charge it at, whatever else is wrong; with `enforce` the first reason comes first."""
    await tenant.seed("u", 10, plan_of_kinds(tenant, standing=Standing.SUBSCRIPTION_PAUSED))
    assert said(await tenant.use("u", "unpriced")) == "403 feature_not_in_plan"
    assert said(await tenant.use("u", "unpriced", enforce=True)) == "403 subscription_paused"


@pytest.mark.parametrize("feature_key", ["seats", "on", "off", "models", "extra_seats"])
@pytest.mark.parametrize("enforce", [False, True])
async def test_only_metered_features_are_used(tenant: Tenant, feature_key: str, enforce: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """422, single and in a batch, in the plan or not; and only gauges are acquired."""
    await tenant.seed("u", 10, plan_of_kinds(tenant))
    assert said(await tenant.use("u", feature_key, enforce=enforce)) == "422 feature_not_metered"
    event = {"end_user_id": "u", "feature_key": feature_key, "enforce": enforce}
    [result] = (await tenant.batch([event])).body["results"]
    assert (result["status"], result["code"]) == ("rejected", "feature_not_metered")
    assert await reserve(tenant, "u", feature_key) == "422 feature_not_metered"
    if "seats" not in feature_key:
        assert said(await acquire(tenant, "u", "h", feature_key)) == "422 feature_not_gauge"
    assert said(await acquire(tenant, "u", "h", "api_calls")) == "422 feature_not_gauge"
    assert await tenant.entries("u") == []
