"""The calls that make and end API keys, and what becomes of them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from app.io.clock import Clock
from app.wire import keys
from app.wire.ids import show
from app.wire.scopes import Scope
from app.wire.snapshot import ApiKeyRecord, decode_api_key
from tests.app.core import Client, Core, Tenant

KEYS = "/v1/api-keys"
NOBODY = show("key", UUID(int=1))
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class SetClock(Clock):
    """Stands where it is put."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        """Where it stands."""
        return self.at


async def make(tenant: Tenant, *scopes: Scope, **more: Any) -> Any:
    """A key of the sandbox, made by its first key."""
    return await tenant.sandbox.made(KEYS, {"name": "n", "scopes": list(scopes), **more})


async def patch(client: Client, key_id: str, name: str) -> Any:
    """PATCH a key."""
    return await client.send("PATCH", f"{KEYS}/{key_id}", content=msgspec.json.encode({"name": name}))


async def revoke(client: Client, key_id: str, **query: str) -> Any:
    """DELETE a key."""
    return await client.send("DELETE", f"{KEYS}/{key_id}", params=query)


async def rotate(client: Client, key_id: str, **body: Any) -> Any:
    """POST a rotation."""
    return await client.post(f"{KEYS}/{key_id}/rotate", body)


async def own_id(tenant: Tenant) -> str:
    """The first key of the sandbox."""
    return (await tenant.sandbox.read(KEYS))["data"][0]["api_key_id"]


async def works(core: Core, key: str) -> bool:
    """Whether core takes the key."""
    return (await core.client(key).get("/v1/features")).status_code != 401


async def told(core: Core, key: str) -> ApiKeyRecord | bytes | None:
    """What Redis holds of a key."""
    content = await core.parts.redis.client.get(keys.api_key(core.parts.api_keys.digest(key)))
    return content if content in (None, keys.UNKNOWN_KEY) else decode_api_key(content)


async def load(core: Core, key: str) -> str:
    """What becomes of an edge's wish to know a key."""
    answer = await core.edge.post("/internal/keys/load", {"digest": core.parts.api_keys.digest(key).hex()})
    return answer.json()["status"]
