"""One environment with something of everything in it, and the names by which that is asked for."""

import re
from http import HTTPStatus
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec

from app.web.paging import read_cursor, write_cursor
from app.wire.ids import parse, show
from tests.flow.stack import Client, drained
from tests.waiting import wait_until_async

Names = dict[str, str]
RELAY_SECONDS = 30
_END_OF_ID = re.compile(r"(?:(?<=[0-9a-f]{20})|(?<=-))[0-9a-f]{12}\b")
_REJECT = """
    INSERT INTO rejected_events (environment_id, id, end_user_id, stream_id, code, detail, entry, recorded_at)
    SELECT $1, id, $3, '1-1', 'unknown_customer', 'nobody', '', now() FROM unnest($2::uuid[]) AS id
"""


class Shop(msgspec.Struct):
    """An environment, its key on both base URLs, and its names."""

    core: Client
    edge: Client
    environment_id: UUID
    tag: str
    """Eight characters, part of every name that is chosen. Names of different shops sort by it."""
    names: Names

    def invented(self) -> Names:
        """Names of the same form that nobody has, and which sort among those of others as these do."""
        return {name: _invent(name, value, self.tag) for name, value in self.names.items()}


def _invent(name: str, value: str, tag: str) -> str:
    if name.endswith("_cursor"):
        return write_cursor(_moved(msgspec.msgpack.decode(read_cursor(value)), tag))
    return _other(value, tag)


def _moved(position: Any, tag: str) -> Any:
    """The place beside it in a list."""
    if isinstance(position, list):
        return [_moved(part, tag) for part in position]
    return _other(position, tag) if isinstance(position, str) else position


def _other(text: str, tag: str) -> str:
    """Another name, or an id of the same moment and partition."""
    return _END_OF_ID.sub(lambda _: uuid4().hex[:12], text).replace(tag, tag[:4] + uuid4().hex[:4])


class Furnishing:
    """Makes one of everything in an environment that has nothing yet."""

    def __init__(self, core: Client, edge: Client, environment_id: UUID, tag: str, owner_url: str) -> None:
        self._core = core
        self._edge = edge
        self._environment_id = environment_id
        self._tag = tag
        self._owner_url = owner_url
        self._names: Names = {}

    async def make(self) -> Shop:
        """All of it."""
        for name in ("end_user_id", "feature_key", "gauge_key", "plan_key", "variant_key", "package_key", "holder"):
            self._names[name] = f"{name.replace('_', '.')}.{self._tag}"
        for name in ("event_type", "payment_reference", "new_reference", "new_key"):
            self._names[name] = f"{name.replace('_', '.')}.{self._tag}"
        await self._catalogue()
        await self._customer()
        await self._usage()
        await self._webhooks()
        await self._cursors()
        return Shop(self._core, self._edge, self._environment_id, self._tag, self._names)

    async def _catalogue(self) -> None:
        names, price = self._names, {"kind": "per_unit", "amount": 1}
        feature = {"key": names["feature_key"], "name": "F", "event_type": names["event_type"], "price": price}
        await self._core.created("/v1/features", feature)
        await self._core.created(f"/v1/features/{names['feature_key']}/prices", {"kind": "flat", "amount": 1})
        await self._core.created("/v1/features", {"key": f"z{self._tag}", "name": "Z", "price": price})
        gauge = {"key": names["gauge_key"], "name": "G", "kind": "gauge", "default_value": 5}
        await self._core.created("/v1/features", gauge)
        for key in (names["plan_key"], f"z{self._tag}"):
            await self._core.created("/v1/plans", {"key": key, "name": "P"})
        keys = (names["feature_key"], names["gauge_key"], f"z{self._tag}")
        terms = {"interval": "month", "features": [{"feature_key": key} for key in keys]}
        path = f"/v1/plans/{names['plan_key']}/variants"
        made = await self._core.created(path, {"key": names["variant_key"], **terms})
        names["plan_variant_id"] = made["plan_variant_id"]
        await self._core.created(f"{path}/{names['variant_key']}/versions", {"interval_count": 2, **terms})
        other = await self._core.created(path, {"key": f"z{self._tag}", **terms})
        names["other_variant_id"] = other["plan_variant_id"]
        key = await self._core.created("/v1/api-keys", {"name": f"k{self._tag}", "scopes": ["usage:write"]})
        names["api_key_id"] = key["api_key_id"]
        sold = {"name": "T", "credits": 5, "price_paid": 5, "currency": "EUR"}
        for key in (names["package_key"], f"z{self._tag}"):
            await self._core.created("/v1/topup-packages", {"key": key, **sold})

    async def _customer(self) -> None:
        names = self._names
        for end_user_id in (names["end_user_id"], f"z{self._tag}"):
            body = {"end_user_id": end_user_id, "plan_variant_id": names["plan_variant_id"]}
            made = await self._core.created("/v1/subscriptions", body)
            names.setdefault("subscription_id", made["subscription_id"])
        for action in ("pause", "resume"):
            answer = await self._core.post(f"/v1/subscriptions/{names['subscription_id']}/{action}", {})
            assert answer.status == HTTPStatus.OK, answer.body
        of = {"end_user_id": names["end_user_id"]}
        names["credit_block_id"] = (await self._core.created("/v1/credits/grants", {**of, "amount": 90}))[
            "credit_block_id"
        ]
        for reference in (names["payment_reference"], f"z{self._tag}"):
            bought = {**of, "package_key": names["package_key"], "payment_reference": reference}
            await self._core.created("/v1/topups", bought)
        for key in (names["feature_key"], f"z{self._tag}"):
            path = f"/v1/customers/{names['end_user_id']}/overrides/{key}"
            answer = await self._core.send("PUT", path, json={"limit": 1000})
            assert answer.status == HTTPStatus.OK, answer.body

    async def _usage(self) -> None:
        names = self._names
        of = {"end_user_id": names["end_user_id"]}
        for key in (names["feature_key"], f"z{self._tag}"):
            answer = await self._edge.post("/v1/usage", {**of, "feature_key": key, "units": 1})
            assert answer.status == HTTPStatus.ACCEPTED, answer.body
            names.setdefault("event_id", answer.body["event_id"])
            await self._posted()
        for name in ("reservation_id", "other_reservation_id", "ended_reservation_id", "kept_reservation_id"):
            opened = {**of, "feature_key": names["feature_key"], "units": 1}
            names[name] = (await self._edge.created("/v1/reservations", opened))["reservation_id"]
            await self._posted()
        answer = await self._edge.post(f"/v1/reservations/{names['ended_reservation_id']}/release", {})
        assert answer.status == HTTPStatus.OK, answer.body
        held = {**of, "holder": names["holder"]}
        answer = await self._edge.post(f"/v1/features/{names['gauge_key']}/acquire", held)
        assert answer.status == HTTPStatus.OK, answer.body
        await self._reject()
        await self._posted()

    async def _posted(self) -> None:
        """Each step is a transaction of its own, so that the ledgers of all shops are alike."""
        await drained(self._core, self._names["end_user_id"])

    async def _reject(self) -> None:
        """Two events that the flusher could not post."""
        ids = [uuid4(), uuid4()]
        connection = await asyncpg.connect(self._owner_url)
        try:
            await connection.execute(_REJECT, self._environment_id, ids, self._names["end_user_id"])
        finally:
            await connection.close()
        self._names["rejected_event_id"] = show("evt", ids[0])

    async def _webhooks(self) -> None:
        """Endpoints that are told nothing yet, and what waits for one of them."""
        for name in ("webhook_endpoint_id", "other_endpoint_id"):
            endpoint = {"url": f"https://hooks.example/{self._tag}", "enabled": False}
            self._names[name] = (await self._core.created("/v1/webhook-endpoints", endpoint))["webhook_endpoint_id"]
        for _ in range(2):
            path = f"/v1/webhook-endpoints/{self._names['webhook_endpoint_id']}/test"
            answer = await self._core.post(path, None)
            assert answer.status == HTTPStatus.ACCEPTED, answer.body

        async def queued() -> Any:
            found = (await self._core.get("/v1/webhook-deliveries")).body["data"]
            return found if len(found) > 1 else None

        delivery = (await wait_until_async(queued, RELAY_SECONDS, "events to be queued"))[0]
        self._names["webhook_delivery_id"] = delivery["webhook_delivery_id"]
        self._names["webhook_event_id"] = delivery["event_id"]

    async def _cursors(self) -> None:
        """The second page of every list."""
        customer = f"/v1/customers/{self._names['end_user_id']}"
        variants = f"/v1/plans/{self._names['plan_key']}/variants"
        end_user = f"end_user_id={self._names['end_user_id']}"
        lists = {
            "audit": "/v1/audit-log?",
            "endpoints": "/v1/webhook-endpoints?",
            "deliveries": "/v1/webhook-deliveries?",
            "feed": "/v1/events?",
            "features": "/v1/features?",
            "prices": f"/v1/features/{self._names['feature_key']}/prices?",
            "plans": "/v1/plans?",
            "variants": f"{variants}?",
            "versions": f"{variants}/{self._names['variant_key']}/versions?",
            "packages": "/v1/topup-packages?",
            "customers": "/v1/customers?",
            "ledger": f"{customer}/ledger?",
            "reservations": f"{customer}/reservations?",
            "overrides": f"{customer}/overrides?",
            "topups": f"/v1/topups?{end_user}&",
            "subscriptions": "/v1/subscriptions?",
            "history": f"/v1/subscriptions/{self._names['subscription_id']}/history?",
            "usage": f"/v1/usage?{end_user}&",
            "events": f"/v1/usage/events?{end_user}&",
            "rejected": f"/v1/usage/rejected?{end_user}&",
        }
        for name, path in lists.items():
            answer = await self._core.get(f"{path}limit=1")
            assert answer.status == HTTPStatus.OK, answer.body
            assert answer.body["next_cursor"], path
            self._names[f"{name}_cursor"] = answer.body["next_cursor"]
        # The first keys of all tenants were made in one millisecond: what stands behind them stands behind all of them.
        self._names["api_keys_cursor"] = write_cursor(("api keys", parse("key", self._names["api_key_id"])))
        self._names["migrate_cursor"] = write_cursor(("subscribers", parse("sub", self._names["subscription_id"])))
