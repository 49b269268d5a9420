"""What an edge knows of customers, beside what core has answered: after every answer the two are the same.

The catalogue is made so that a snapshot shows what it was made of: `tier` names the variant and version of the base
plan, `more` those of the add-on.
"""

from datetime import timedelta
from random import Random
from typing import Any

import httpx
import msgspec

from app.io.redis import AccountView
from app.rules.entitlement import Standing, standing_of
from app.rules.lifecycle import TERMINAL, Action, State, legal_actions
from app.wire.snapshot import FeatureTerms, PlanSnapshot
from tests.app.core import Core, Tenant
from tests.app.metering.test_features import published_plan
from tests.waiting import wait_until_async

DAY_SECONDS = 86_400
DAY = timedelta(days=1)
SHAPES: dict[str, dict[str, Any]] = {
    "one.small": {"interval": "month", "billing_mode": "prepaid", "trial_days": 5},
    "one.large": {"interval": "month", "billing_mode": "postpaid", "usable_while_paused": True},
    "two.weekly": {"interval": "week", "billing_mode": "prepaid", "allow_usage_while_overdue": True},
    "extra.monthly": {"interval": "month", "billing_mode": "postpaid"},
    "extra.weekly": {"interval": "week", "billing_mode": "prepaid"},
    "free.monthly": {"interval": "month", "billing_mode": "postpaid"},
}
"""By plan and variant."""
PATHS = {
    Action.RENEW: ("POST", "/renew", {}),
    Action.CHANGE: ("POST", "/change", {"at": "now"}),
    Action.SCHEDULE_CHANGE: ("POST", "/change", {"at": "period_end"}),
    Action.UNSCHEDULE: ("DELETE", "/scheduled-change", None),
    Action.PAUSE: ("POST", "/pause", {}),
    Action.RESUME: ("POST", "/resume", {}),
    Action.CANCEL: ("POST", "/cancel", {"at": "now"}),
    Action.CANCEL_AT_PERIOD_END: ("POST", "/cancel", {"at": "period_end"}),
}


def terms_of(name: str, version: int, random: Random) -> dict[str, Any]:
    """A version of a variant."""
    every = SHAPES[name]["interval"]
    grants = [{"amount": random.randint(1, 50), "interval": every, "rollover": {"percent": 50}}]
    grants.append({"amount": random.randint(1, 50), "interval": "week", "expires_after": {"interval": "month"}})
    feature = "more" if name.startswith("extra") else "tier"
    return {**SHAPES[name], "grants": grants, "features": [{"feature_key": feature, "value": f"{name}/{version}"}]}


class Follower:
    """Does things to customers of one tenant, and looks at them as an edge does."""

    def __init__(self, core: Core, tenant: Tenant, seed: int) -> None:
        self._core, self._tenant = core, tenant
        self._client, self._random = tenant.sandbox, Random(seed)
        self._variants: dict[str, str] = {}
        """Ids by name."""
        self._versions = dict.fromkeys(SHAPES, 1)
        self._plans: dict[str, PlanSnapshot] = {}
        self.answers: dict[tuple[str, int], int] = {}
        """How often each action was answered so."""
        self.waited = 0
        """How often an edge had to wait, since the publish was still on its way."""

    async def prepare(self) -> None:
        """The catalogue, the free plan and a clock that stands still."""
        client = self._client
        for key in ("tier", "more"):
            await client.made("/v1/features", {"key": key, "name": key, "kind": "static"})
        for plan, kind in (("one", "base"), ("two", "base"), ("extra", "addon"), ("free", "base")):
            await client.made("/v1/plans", {"key": plan, "name": plan, "kind": kind})
        for name in SHAPES:
            plan, _, variant = name.partition(".")
            made = await client.made(f"/v1/plans/{plan}/variants", {"key": variant, **terms_of(name, 1, self._random)})
            self._variants[name] = made["plan_variant_id"]
        wanted = {"free_plan_variant_id": self._variants["free.monthly"]}
        assert (await client.send("PATCH", "/v1/environment", json=wanted)).status_code == 200
        assert (await client.post("/v1/test-clock/freeze", {})).status_code == 200

    async def act(self, name: str) -> None:
        """One thing, at random, and a look at what follows."""
        subscriptions = await self._subscriptions(name)
        alive = [each for each in subscriptions if State(each["state"]) not in TERMINAL]
        kind = self._random.choice(["subscribe", "credit", *["act"] * 8])
        if kind == "credit":
            answer = await self._credit(name)
        elif kind == "subscribe" or not alive:
            kind, answer = "subscribe", await self._subscribe(name)
        else:
            kind, answer = await self._move(self._random.choice(alive))
        assert answer.status_code in {200, 201, 404, 409, 422}, answer.text
        place = kind, answer.status_code
        self.answers[place] = self.answers.get(place, 0) + 1
        await self.look(name, answer.json() if kind != "credit" and answer.status_code < 300 else None)

    async def publish(self) -> None:
        """A new version of some variant: subscribers stay on theirs."""
        name = self._random.choice(list(SHAPES))
        self._versions[name] += 1
        plan, _, variant = name.partition(".")
        terms = terms_of(name, self._versions[name], self._random)
        await self._client.made(f"/v1/plans/{plan}/variants/{variant}/versions", terms)

    async def advance(self) -> None:
        """Time goes by, for all of them."""
        seconds = self._random.choice([1, 5, 9, 30]) * DAY_SECONDS + self._random.randint(0, 999)
        answer = await self._client.post("/v1/test-clock/advance", {"by_seconds": seconds})
        assert answer.status_code == 200, answer.text

    async def _subscriptions(self, name: str) -> list[dict[str, Any]]:
        return (await self._client.read("/v1/subscriptions", end_user_id=name, limit=1000))["data"]

    async def _subscribe(self, name: str) -> httpx.Response:
        variant = self._random.choice(list(self._variants.values()))
        body: dict[str, Any] = {"end_user_id": name, "plan_variant_id": variant}
        if self._random.random() < 0.2:
            clock = await self._client.read("/v1/test-clock")
            body["starts_at"] = clock["frozen_at"][:-1] + "9Z"
        if self._random.random() < 0.2:
            body["contract"] = {"periods": 2}
        return await self._client.post("/v1/subscriptions", body)

    async def _credit(self, name: str) -> httpx.Response:
        amount = self._random.randint(-60, 40) or 1
        body = {"end_user_id": name, "amount": amount, "reason": "by the way", "allow_debt": True}
        return await self._client.post("/v1/credits/adjustments", body)

    async def _move(self, subscription: dict[str, Any]) -> tuple[str, httpx.Response]:
        legal = [
            action for action in legal_actions(State(subscription["state"])) if self._is_of_use(action, subscription)
        ]
        action = self._random.choice(legal if legal and self._random.random() < 0.9 else tuple(PATHS))
        method, path, body = PATHS[action]
        where = f"/v1/subscriptions/{subscription['subscription_id']}{path}"
        if body is None:
            return action, await self._client.send(method, where)
        if path == "/change":
            is_addon = subscription["plan_kind"] == "addon"
            kin = [name for name in SHAPES if name.startswith("extra") == is_addon] * 3
            body = {**body, "plan_variant_id": self._variants[self._random.choice([*kin, *SHAPES])]}
        return action, await self._client.post(where, body)

    def _is_of_use(self, action: Action, subscription: dict[str, Any]) -> bool:
        """Whether it is one that is hardly ever refused; of cancellations that end all, only some."""
        match action:
            case Action.RENEW:
                return subscription["billing_mode"] == "prepaid" and not subscription["renewed"]
            case Action.UNSCHEDULE:
                return subscription["scheduled"] is not None
            case Action.CHANGE | Action.SCHEDULE_CHANGE:
                return subscription["plan_key"] != "free"
            case Action.CANCEL:
                return self._random.random() < 0.5
            case _:
                return True

    # ---- what an edge sees

    async def look(self, name: str, answered: dict[str, Any] | None = None) -> None:
        """By what an edge decides from now on; `answered` is a subscription as core has just shown it."""
        view = await self._read(name)
        if view is None:
            assert not await self._subscriptions(name)
            return
        if not decides(view):
            self.waited += 1
            view = await wait_until_async(lambda: self._decided(name), 10, f"{name} to be published")
        shown = await self._subscriptions(name)
        if answered is not None:
            assert [each for each in shown if each["subscription_id"] == answered["subscription_id"]] == [answered]
        if view.snapshot_id not in self._plans:  # what has such an id never changes
            self._plans[view.snapshot_id] = await published_plan(self._core, self._tenant, name)
        plan = self._plans[view.snapshot_id]
        assert known(view, plan) == expected(shown)
        assert view.available_micro == await self._total(name)

    async def _read(self, name: str) -> AccountView | None:
        return await self._core.parts.redis.read_account(self._tenant.environment_id, name)

    async def _decided(self, name: str) -> AccountView | None:
        view = await self._read(name)
        return view if view is not None and decides(view) else None

    async def _total(self, name: str) -> int:
        """What the ledger's blocks hold, less the debt."""
        statement = (
            "SELECT coalesce(sum(b.remaining_micro) FILTER (WHERE b.granted_at IS NOT NULL), 0)::bigint - a.debt_micro "
            "FROM accounts a LEFT JOIN credit_blocks b ON b.environment_id = a.environment_id AND b.account_id = a.id "
            "WHERE a.end_user_id = $1 GROUP BY a.debt_micro"
        )
        database = self._core.parts.database
        return await database.run(self._tenant.environment_id, lambda tx: tx.connection.fetchval(statement, name))


def decides(view: AccountView) -> bool:
    """Whether an edge decides by these figures, or waits until others are published."""
    assert view.frozen_at is not None
    return max(view.frozen_at, view.last_at) < view.valid_until


def known(view: AccountView, plan: PlanSnapshot) -> tuple[object, ...]:
    """What an edge knows: the status, the standing, and the values of both features."""
    values = [_value(plan.features[key]) for key in ("tier", "more")]
    return view.subscription_status, plan.standing, plan.subscribed, *values


def _value(terms: FeatureTerms) -> str | None:
    return msgspec.json.decode(terms.value) if terms.included and terms.value is not None else None


def expected(subscriptions: list[dict[str, Any]]) -> tuple[object, ...]:
    """The same as it follows from the subscriptions, in the order in which they were made."""
    in_force = [each for each in subscriptions if State(each["state"]) not in {*TERMINAL, State.SCHEDULED}]
    bases = [each for each in in_force if each["plan_kind"] == "base"]
    giving = [
        each
        for each in in_force
        if each["plan_kind"] == "addon" and each["state"] != "paused" and _standing(each) is Standing.OK
    ]
    assert len(bases) <= 1
    more = _name(giving[-1]) if giving else None
    if not bases:
        return "none", Standing.OK, False, None, more
    return bases[0]["state"], _standing(bases[0]), True, _name(bases[0]), more


def _name(subscription: dict[str, Any]) -> str:
    return f"{subscription['plan_key']}.{subscription['variant_key']}/{subscription['version']}"


def _standing(subscription: dict[str, Any]) -> Standing:
    shape = SHAPES[f"{subscription['plan_key']}.{subscription['variant_key']}"]
    return standing_of(
        subscription["state"],
        usable_while_paused=shape.get("usable_while_paused", False),
        allow_usage_while_overdue=shape.get("allow_usage_while_overdue", False),
    )
