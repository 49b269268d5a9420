"""A sandbox whose time stands still, with plans of ten days, and the calls that move subscriptions."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec

from app.io.redis import AccountView
from app.rules.moments import NEVER_AT, to_at
from app.wire import keys
from app.wire.codes import Code
from app.wire.events import UsagePayload, encode_usage
from app.wire.ids import show
from app.wire.reservations import ReservationEnd, ReservationOpening, ReservationState, encode_change
from tests.app.core import EVENTS_OF_A_FEATURE, Client, Core, Tenant
from tests.app.metering.test_features import published_plan
from tests.app.schema.catalogue import connected
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls
from tests.waiting import wait_until_async

TEN_DAYS: dict[str, Any] = {"interval": "day", "interval_count": 10}
WAIT_SECONDS = 10.0
CREDIT = 1_000_000
IN_FORCE = ("trialing", "active", "paused", "overdue")


class Studio:
    """What tests of subscriptions ask of one sandbox. Customers are called `u` where nobody says otherwise."""

    def __init__(self, core: Core, tenant: Tenant, urls: DatabaseUrls) -> None:
        self.core, self.tenant, self.urls = core, tenant, urls

    @property
    def client(self) -> Client:
        """The sandbox's key."""
        return self.tenant.sandbox

    async def open(self) -> None:
        """One feature, and time stands still."""
        await self.client.made("/v1/features", EVENTS_OF_A_FEATURE)
        answer = await self.client.post("/v1/test-clock/freeze", {})
        assert answer.status_code == 200, answer.text

    async def now(self) -> datetime:
        """Where time stands."""
        return datetime.fromisoformat((await self.client.read("/v1/test-clock"))["frozen_at"])

    async def pass_days(self, days: float) -> None:
        """Move time on; everything that falls due has happened then."""
        answer = await self.client.post("/v1/test-clock/advance", {"by_seconds": int(days * 86_400)})
        assert answer.status_code == 200, answer.text

    async def plan(self, key: str, amount: int, *, kind: str = "base", **terms: Any) -> str:
        """A plan with one variant: so many credits every ten days; the variant's id."""
        await self.client.made("/v1/plans", {"key": key, "name": key, "kind": kind})
        body = {
            "key": "ten_days",
            **TEN_DAYS,
            "grants": [{"amount": amount, **TEN_DAYS}] if amount else [],
            "features": [{"feature_key": "api_calls"}],
            **terms,
        }
        return (await self.client.made(f"/v1/plans/{key}/variants", body))["plan_variant_id"]

    async def free_plan(self, amount: int = 10, **terms: Any) -> str:
        """The plan `free`, to which customers of the environment fall back; its variant's id."""
        variant = await self.plan("free", amount, billing_mode="postpaid", **terms)
        answer = await self.client.send("PATCH", "/v1/environment", json={"free_plan_variant_id": variant})
        assert answer.status_code == 200, answer.text
        return variant

    async def subscribe(self, variant: str, end_user_id: str = "u", **more: Any) -> Any:
        """A subscription, of which edges know."""
        made = await self.client.made(
            "/v1/subscriptions", {"end_user_id": end_user_id, "plan_variant_id": variant, **more}
        )
        await self.edge_follows(end_user_id)
        return made

    async def act(self, made: Any, action: str, key: str | None = None, **body: Any) -> Any:
        """How the subscription stands after an action, of which edges know."""
        answer = await self.client.post(f"/v1/subscriptions/{made['subscription_id']}/{action}", body, key)
        assert answer.status_code == 200, answer.text
        if not action.endswith("preview"):
            await self.edge_follows(made["end_user_id"])
        return answer.json()

    async def refused(self, code: Code, made: Any, action: str, **body: Any) -> Any:
        """Why an action is refused; the subscription and all that is told of it stay as they were."""
        before = await self.show(made), await self.history(made), await self.total(made["end_user_id"])
        answer = await self.client.post(f"/v1/subscriptions/{made['subscription_id']}/{action}", body)
        problem = assert_problem(answer, code)
        assert (await self.show(made), await self.history(made), await self.total(made["end_user_id"])) == before
        return problem

    async def unschedule(self, made: Any) -> Any:
        """How it stands once what was to happen at the end of its period is taken back."""
        answer = await self.client.send("DELETE", f"/v1/subscriptions/{made['subscription_id']}/scheduled-change")
        assert answer.status_code == 200, answer.text
        await self.edge_follows(made["end_user_id"])
        return answer.json()

    async def show(self, made: Any) -> Any:
        """How it stands."""
        return await self.client.read(f"/v1/subscriptions/{made['subscription_id']}")

    async def of(self, end_user_id: str = "u") -> list[tuple[str, str]]:
        """(plan, state) of a customer's subscriptions, in the order in which they were made."""
        listed = await self.client.read("/v1/subscriptions", end_user_id=end_user_id)
        return [(body["plan_key"], body["state"]) for body in listed["data"]]

    async def history(self, made: Any) -> list[dict[str, Any]]:
        """What became of it, the first first."""
        path = f"/v1/subscriptions/{made['subscription_id']}/history"
        return (await self.client.read(path))["data"][::-1]

    async def actions(self, made: Any) -> list[tuple[str, str | None, str]]:
        """(action, state before, state after) of everything that became of it."""
        return [(each["action"], each["state_before"], each["state_after"]) for each in await self.history(made)]

    async def total(self, end_user_id: str = "u") -> float:
        """The customer's credit in the ledger."""
        return (await self.client.read(f"/v1/customers/{end_user_id}/credits"))["total"]

    async def owe(self, amount: int, end_user_id: str = "u") -> None:
        """Take so much credit, into debt where there is less."""
        debit = {"end_user_id": end_user_id, "amount": -amount, "reason": "owed", "allow_debt": True}
        await self.client.made("/v1/credits/adjustments", debit)

    async def use(self, amount: int, end_user_id: str = "u") -> str:
        """Usage that costs so much, as an edge's script leaves it; its id, once it is posted."""
        event_id, before, cost_micro = uuid4(), await self.total(end_user_id), amount * CREDIT
        usage = UsagePayload(event_id, "api_calls", cost_micro, UUID(int=1), None, None, None)
        await self._append(end_user_id, "u", encode_usage(usage), cost_micro)
        await self._wait_for(before - amount, end_user_id)
        return show("evt", event_id)

    async def reserve(self, amount: int, end_user_id: str = "u") -> UUID:
        """A reservation of so much, as an edge's script leaves it, once it is posted; its id."""
        reservation_id, before, cost_micro = uuid4(), await self.total(end_user_id), amount * CREDIT
        opening = ReservationOpening(
            reservation_id=reservation_id,
            feature_key="api_calls",
            units_micro=cost_micro,
            in_credits=False,
            price_id=UUID(int=1),
        )
        await self._append(end_user_id, "r", encode_change(opening), cost_micro, {"d": NEVER_AT})
        await self._wait_for(before - amount, end_user_id)
        return reservation_id

    async def release(self, reservation_id: UUID, end_user_id: str = "u") -> None:
        """It ends unused, as an edge's script leaves it where the ledger has to say what comes back."""
        end = ReservationEnd(reservation_id=reservation_id, feature_key="api_calls", state=ReservationState.RELEASED)
        await self._append(end_user_id, "r", encode_change(end), 0)

        async def is_posted() -> bool:
            return (await self.ledger(end_user_id))[-1][0] == "reservation_released"

        await wait_until_async(is_posted, WAIT_SECONDS, "the release is posted")

    async def _append(
        self, end_user_id: str, kind: str, payload: bytes, cost_micro: int, more: dict[str, int] | None = None
    ) -> None:
        redis = self.core.parts.redis
        ref = keys.account_ref(keys.environment_ref(self.tenant.environment_id), end_user_id)
        view, partition = await self.view(end_user_id), redis.partition(ref)
        at = max(to_at(await self.now()), view.last_at)
        fields = {"a": ref, "k": kind, "t": at, "r": view.revision, "c": cost_micro, "p": payload, **(more or {})}
        last_id = await redis.client.xadd(keys.stream(partition), fields)
        news = {"accepted": view.accepted_micro + cost_micro, "last_id": last_id, "last_at": at}
        await redis.client.hset(keys.account(partition, ref), mapping=news)

    async def _wait_for(self, total: float, end_user_id: str) -> None:
        async def is_posted() -> bool:
            return await self.total(end_user_id) == total

        await wait_until_async(is_posted, WAIT_SECONDS, "it is posted")

    async def void(self, code: Code | None = None, **what: Any) -> Any:
        """What a void answers, or its refusal with a code; a dry run before it says the same."""
        asked = {"reason": "a mistake", **what}
        would = await self.client.post("/v1/credits/voids", {**asked, "dry_run": True})
        done = await self.client.post("/v1/credits/voids", asked)
        if code is not None:
            problem = assert_problem(done, code)
            assert assert_problem(would, code)["detail"] == problem["detail"]
            return problem
        assert (would.status_code, done.status_code) == (200, 201), (would.text, done.text)
        assert would.json()["lines"] == done.json()["lines"]
        return done.json()

    async def ledger(self, end_user_id: str = "u") -> list[tuple[str, float]]:
        """(kind, change of the total) of all transactions, the first first."""
        listed = (await self.client.read(f"/v1/customers/{end_user_id}/ledger"))["data"]
        return [(entry["kind"], entry["total_after"] - entry["total_before"]) for entry in listed[::-1]]

    async def told(self, event_type: str) -> list[dict[str, Any]]:
        """What was told under this name, in time's order."""
        statement = "SELECT data FROM outbox WHERE type = $1 AND environment_id = $2 ORDER BY created_at"
        async with connected(self.urls.owner) as connection:
            rows = await connection.fetch(statement, event_type, self.tenant.environment_id)
        return [msgspec.json.decode(row["data"]) for row in rows]

    async def told_of(self, made: Any) -> list[str]:
        """The names of all that was told of a subscription, in time's order."""
        statement = "SELECT type FROM outbox WHERE data ->> 'subscription_id' = $1 ORDER BY created_at"
        async with connected(self.urls.owner) as connection:
            return [row["type"] for row in await connection.fetch(statement, made["subscription_id"])]

    async def names_told(self, end_user_id: str = "u") -> list[str]:
        """The names of all that was told of a customer, as they are numbered."""
        statement = "SELECT type FROM outbox WHERE environment_id = $1 AND end_user_id = $2 ORDER BY sequence"
        async with connected(self.urls.owner) as connection:
            rows = await connection.fetch(statement, self.tenant.environment_id, end_user_id)
        return [row["type"] for row in rows]

    async def standing(self, end_user_id: str = "u") -> str:
        """What edges make of the subscription."""
        await self.view(end_user_id)
        return (await published_plan(self.core, self.tenant, end_user_id)).standing

    async def view(self, end_user_id: str = "u") -> AccountView:
        """What an edge first decides by now: it waits for orders, and for nothing else."""

        async def look() -> AccountView | None:
            view = await self.core.parts.redis.read_account(self.tenant.environment_id, end_user_id)
            return view if view is not None and view.valid_until else None

        return await wait_until_async(look, WAIT_SECONDS, "the order is published")

    async def edge_follows(self, end_user_id: str) -> None:
        """What an edge decides by is what the answer says: the ledger's credit, and the base subscription's state."""
        view = await self.view(end_user_id)
        listed = (await self.client.read("/v1/subscriptions", end_user_id=end_user_id))["data"]
        states = [body["state"] for body in listed if body["plan_kind"] == "base" and body["state"] in IN_FORCE]
        assert [view.subscription_status] == (states or ["none"])
        assert view.base_micro == round(await self.total(end_user_id) * 1_000_000)


def later(moment: str, **delta: float) -> datetime:
    """A moment that was answered, and so much time after it."""
    return datetime.fromisoformat(moment) + timedelta(**delta)
