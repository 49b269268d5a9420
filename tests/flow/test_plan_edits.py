"""Plans and prices are edited while usage pours in: each event is priced by what held when it was accepted."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import asyncpg
import msgspec

from tests.flow.stack import Stack, Tenant, drained
from tests.waiting import wait_until_async

EDITS, CUSTOMERS_EACH = 12, 4
EVENTS_BETWEEN = 5
"""Of everybody, from one edit to the next."""
OWN, DEFAULT = 10, 1_000
"""The variant's own price, and the feature's default; each edit adds one."""
KINDS = ("staying", "moving", "migrated", "plain")
"""Of customers: who stays on the first version, who is moved after each edit, who is so with all of their variant, and
who has no price but the default."""


@dataclass
class Known:
    """How many edits were begun, and how many were answered."""

    begun: int = 0
    answered: int = 0


@dataclass(frozen=True)
class Sent:
    """What an event cost by the edge's answer, and which edits it may have known of."""

    cost: int
    answered_before: int
    begun_after: int


def price(amount: int) -> dict[str, Any]:
    """So many credits a call."""
    return {"kind": "per_unit", "amount": amount}


def own_terms(edit: int) -> dict[str, Any]:
    """A version with a price of its own, and credit that is never used up."""
    grant = {"amount": 10_000_000, "interval": "month"}
    features = [{"feature_key": "api_calls", "price": price(OWN + edit)}]
    return {"interval": "month", "billing_mode": "postpaid", "grants": [grant], "features": features}


class Storm:
    """One tenant's customers, senders and editor."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._known: dict[str, Known] = defaultdict(Known)
        """By customer; the default price under its own name."""
        self._subscriptions: dict[str, str] = {}
        self.sent: dict[str, dict[str, Sent]] = defaultdict(dict)
        """By customer and key."""
        self._is_over = False

    async def prepare(self) -> None:
        """Catalogue and customers."""
        core = self._tenant.core
        feature = {"key": "api_calls", "name": "Calls", "price": price(DEFAULT)}
        await core.created("/v1/features", feature)
        await core.created("/v1/plans", {"key": "pro", "name": "Pro"})
        plain = own_terms(0) | {"key": "plain", "features": [{"feature_key": "api_calls"}]}
        terms = [own_terms(0) | {"key": "own"}, own_terms(0) | {"key": "migrated"}, plain]
        variants = {each["key"]: await core.created("/v1/plans/pro/variants", each) for each in terms}
        for kind in KINDS:
            variant = variants.get(kind, variants["own"])["plan_variant_id"]
            for number in range(CUSTOMERS_EACH):
                name = f"{kind}_{number}"
                asked = {"end_user_id": name, "plan_variant_id": variant}
                self._subscriptions[name] = (await core.created("/v1/subscriptions", asked))["subscription_id"]
        self._variant_id = variants["own"]["plan_variant_id"]

    def names(self, *kinds: str) -> list[str]:
        """Customers of these kinds."""
        return [name for name in self._subscriptions if name.partition("_")[0] in kinds]

    async def run(self) -> None:
        """All of them send while plans are edited."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._edit())
            for name in self.names(*KINDS):
                group.create_task(self._send(name))

    async def _send(self, name: str) -> None:
        known = self._known["default" if name.startswith("plain") else name]
        number = 0
        while not self._is_over:
            key, before = f"{name} {number}", known.answered
            body = {"end_user_id": name, "feature_key": "api_calls", "units": 1, "idempotency_key": key}
            answer = await self._tenant.edge.post("/v1/usage", body)
            assert answer.status == HTTPStatus.ACCEPTED, answer.body
            self.sent[name][key] = Sent(answer.body["cost"], before, known.begun)
            number += 1

    async def _edit(self) -> None:
        """Each time a default price, versions, and moves of those who are to be moved; between them, usage."""
        core = self._tenant.core
        for edit in range(1, EDITS + 1):
            default = self._known["default"]
            default.begun = edit
            await core.created("/v1/features/api_calls/prices", price(DEFAULT + edit))
            default.answered = edit
            for variant in ("own", "migrated"):
                await core.created(f"/v1/plans/pro/variants/{variant}/versions", own_terms(edit))
            await asyncio.gather(self._migrate(edit), *(self._move(name, edit) for name in self.names("moving")))
            await self._more_usage()
        self._is_over = True

    async def _move(self, name: str, edit: int) -> None:
        known = self._known[name]
        known.begun = edit
        asked = {"plan_variant_id": self._variant_id, "at": "now"}
        answer = await self._tenant.core.post(f"/v1/subscriptions/{self._subscriptions[name]}/change", asked)
        assert (answer.status, answer.body["version"]) == (HTTPStatus.OK, edit + 1), answer.body
        known.answered = edit

    async def _migrate(self, edit: int) -> None:
        migrated = [self._known[name] for name in self.names("migrated")]
        for known in migrated:
            known.begun = edit
        answer = await self._tenant.core.post("/v1/plans/pro/variants/migrated/migrate", {"at": "now"})
        assert (answer.status, answer.body["version"]) == (HTTPStatus.OK, edit + 1), answer.body
        assert (answer.body["upgraded"], answer.body["staying"]) == (CUSTOMERS_EACH, {}), answer.body
        for known in migrated:
            known.answered = edit

    async def _more_usage(self) -> None:
        """Wait for a few events of everybody."""
        counts = {name: len(sent) for name, sent in self.sent.items()}

        async def has_more() -> bool:
            return all(len(self.sent[name]) > counts.get(name, 0) + EVENTS_BETWEEN for name in self._subscriptions)

        await wait_until_async(has_more, 30, "usage to go on")


async def posted(stack: Stack, tenant: Tenant) -> dict[str, tuple[int, int]]:
    """By key: what the ledger says that the event cost, and what the price says that it is posted under."""
    connection = await asyncpg.connect(stack.stores.database_url)
    try:
        rows = await connection.fetch(
            "SELECT e.idempotency_key, e.cost_micro, p.price FROM usage_events e "
            "JOIN prices p ON p.environment_id = e.environment_id AND p.id = e.price_id WHERE e.environment_id = $1",
            tenant.environment_id,
        )
    finally:
        await connection.close()
    whole = 1_000_000
    return {
        row["idempotency_key"]: (row["cost_micro"] // whole, msgspec.json.decode(row["price"])["amount_micro"] // whole)
        for row in rows
    }


async def test_usage_is_priced_by_the_version_that_it_was_accepted_under(stack: Stack, tenant: Tenant) -> None:
    """Whoever stays on a version pays its price; whoever is moved pays the new one from the answer on, not before."""
    storm = Storm(tenant)
    await storm.prepare()
    await storm.run()
    for name in storm.names(*KINDS):
        await drained(tenant.core, name)
    ledger = await posted(stack, tenant)
    assert ledger.keys() == {key for sent in storm.sent.values() for key in sent}
    for name, sent in storm.sent.items():
        first = DEFAULT if name.startswith("plain") else OWN
        for key, event in sent.items():
            assert ledger[key] == (event.cost, event.cost), key
            assert first + event.answered_before <= event.cost <= first + event.begun_after, (name, key, event)
    paid = {name: {event.cost for event in sent.values()} for name, sent in storm.sent.items()}
    assert all(paid[name] == {OWN} for name in storm.names("staying"))
    assert all(len(paid[name]) > EDITS // 2 for name in storm.names("moving", "migrated", "plain"))
    report = await stack.verify()
    assert [found.finding for found in report.findings] == []
