"""A key that the operator makes, for a tenant that has lost its own or has revoked the last that could make others."""

from uuid import UUID

import msgspec

from app.io.clock import Clock
from app.io.ids import new_api_key, new_id, new_request_id
from app.io.postgres import Database, Transaction
from app.tenants import store
from app.tenants.issuing import KIND
from app.tenants.schemas import NewApiKey, show_key
from app.tenants.service import DISPLAY_PREFIX_LENGTH
from app.tenants.store import KeyRow
from app.trail import audit
from app.trail.audit import OPERATOR, Occasion
from app.web.bodies import encode
from app.wire import key_digest
from app.wire.ids import show
from app.wire.scopes import Scope

_CREATED = 201


class NoSuchEnvironment(Exception):
    """There is no environment with this id."""


async def make_key(database_url: str, pepper: str, environment_id: UUID, name: str) -> str:
    """A new key of the environment that may do everything, with its row in the audit log.

    `database_url` is the owner's. Raises NoSuchEnvironment, ValueError for a name that is none, and what the database
    raises.
    """
    asked = msgspec.convert({"name": name, "scopes": [Scope.ADMIN]}, NewApiKey)
    database = await Database.open(database_url, "quotastack keys", max_size=1)
    try:
        return await database.run(environment_id, lambda tx: _make(tx, pepper, asked))
    finally:
        await database.close()


async def _make(tx: Transaction, pepper: str, asked: NewApiKey) -> str:
    kind = await store.read_kind(tx)
    if kind is None:
        raise NoSuchEnvironment(f"there is no environment {show('env', tx.environment)}")
    now, key = Clock().now(), new_api_key(kind)
    digest = key_digest.digest(pepper.encode(), key)
    row = KeyRow(new_id(now), digest, key[:DISPLAY_PREFIX_LENGTH], asked.name, asked.scopes, now, OPERATOR)
    await store.insert_key(tx, row)
    audit.changed(tx, KIND, show("key", row.id), after=show_key(row))
    occasion = Occasion(
        at=now,
        actor=OPERATOR,
        request_id=new_request_id(),
        route="quotastack keys create",
        request=encode({"path": {}, "body": asked}).decode(),
        reason=None,
        idempotency_key=None,
    )
    await audit.record(tx, occasion, _CREATED, encode(show_key(row)))
    return key
