"""What tests read of the audit log, past the API."""

from typing import Any

import msgspec

from tests.app.schema.catalogue import connected
from tests.conftest import DatabaseUrls

_JSON = ("request", "before", "after")


MAKING = "POST /v1/tenants"
"""The route of every environment's first row."""


async def read_changes(urls: DatabaseUrls, environment_id: object) -> list[dict[str, Any]]:
    """The rows of an environment after its making, the first first."""
    return [row for row in await read_log(urls, environment_id) if row["route"] != MAKING]


async def read_log(urls: DatabaseUrls, environment_id: object) -> list[dict[str, Any]]:
    """The rows of an environment, the first first."""
    async with connected(urls.owner) as connection:
        rows = await connection.fetch("SELECT * FROM audit_log WHERE environment_id = $1 ORDER BY id", environment_id)
    return [
        {name: msgspec.json.decode(value) if name in _JSON and value else value for name, value in row.items()}
        for row in rows
    ]
