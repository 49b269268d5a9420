"""Nothing secret is in any log or problem document, wherever clients put their keys and whatever breaks."""

from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from signal import SIGKILL
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from tests.flow.stack import SECRETS, Client, Stack, Tenant, open_session, running_stack

SHOWN = 12
"""So much of a key may be seen."""


def misplaced(secret: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Requests with a secret where none belongs: method, path, and what goes with them."""
    yield "GET", f"/v1/features/{secret}", {}
    yield "GET", f"/v1/api-keys/{secret}", {}
    yield "DELETE", f"/v1/api-keys/{secret}", {}
    yield "GET", f"/{secret}", {}
    yield "PUT", f"/v1/{secret}/x", {}
    yield "GET", "/v1/features", {"params": {secret: "1"}}
    yield "GET", "/v1/features", {"params": {"limit": secret}}
    yield "GET", "/v1/features", {"params": {"cursor": secret}}
    yield "GET", "/v1/entitlements/check", {"params": {"end_user_id": secret, "feature_key": secret}}
    yield "GET", "/v1/entitlements/check", {"params": {secret: "1"}}
    yield "GET", f"/v1/reservations/{secret}", {}
    yield "POST", f"/v1/reservations/{secret}/commit", {"json": {}}
    yield "POST", "/v1/usage", {"json": {"end_user_id": "u", "feature_key": secret}}
    yield "POST", "/v1/usage", {"json": {secret: 1}}
    yield "POST", "/v1/usage", {"data": secret, "headers": {"Content-Type": "application/json"}}
    yield "POST", "/v1/usage", {"json": {}, "headers": {"Content-Type": secret}}
    yield "POST", "/v1/features", {"json": {"key": secret, "name": secret, "kind": secret}}
    yield "POST", "/v1/api-keys", {"json": {"name": "n", "scopes": [secret]}}
    yield "POST", "/v1/customers", {"json": {secret: secret}}
    yield "POST", "/v1/features", {"json": {}, "headers": {"Idempotency-Key": secret * 9}}
    yield "GET", "/v1/features/none", {"headers": {"X-Request-Id": secret}}
    yield "GET", "/v1/features", {"headers": {"Authorization": f"Basic {secret}"}}
    yield "GET", "/v1/features", {"headers": {"Authorization": secret}}
    yield "GET", "/v1/features", {"headers": {"Authorization": f"Bearer {secret}x"}}
    yield "GET", "/v1/features", {"headers": {"X-Forwarded-For": secret, "traceparent": secret}}
    yield secret[:8].upper(), "/v1/features", {}


async def send_all(tenant: Tenant, secret: str) -> list[bytes]:
    """Send all of these to core and to the edge; the bodies of what was refused."""
    refused: list[bytes] = []
    for client in (tenant.core, tenant.edge):
        for method, path, options in misplaced(secret):
            answer = await client.send(method, path, **options)
            if answer.status >= HTTPStatus.BAD_REQUEST:
                refused.append(answer.raw)
    return refused


def secrets_of(stack: Stack) -> set[str]:
    """Whatever the processes were given that nobody may see."""
    addresses = [value for one in stack.environments.values() for value in one.values() if "://" in value]
    passwords = {urlsplit(address).password for address in addresses}
    return {*SECRETS.values(), *(password for password in passwords if password)}


async def test_nothing_secret_is_shown(tmp_path: Path) -> None:
    """Of keys a beginning, of all else nothing; while everything is there, and while the stores are not."""
    async with running_stack(tmp_path) as stack, open_session() as session:
        tenant = await stack.tenant(session)
        made = await tenant.core.created("/v1/api-keys", {"name": "n", "scopes": ["usage:write"]})
        weak = Tenant(
            tenant.sandbox_key,
            tenant.live_key,
            tenant.environment_id,
            tenant.core.with_key(made["key"]),
            tenant.edge.with_key(made["key"]),
        )
        keys = {tenant.sandbox_key, tenant.live_key, made["key"]}
        secrets = secrets_of(stack)
        assert len(secrets) >= 7
        documents: list[bytes] = []
        for secret in sorted(keys):
            documents += await send_all(tenant, secret)
        documents += await send_all(weak, made["key"])
        documents += await operator_errs(stack, session)
        await stack.end_server(stack.valkey, SIGKILL)
        documents += await send_all(tenant, made["key"])
        await stack.end_server(stack.postgres, SIGKILL)
        documents += await send_all(tenant, made["key"])
        assert any(b'"status":503' in document for document in documents)
        logs = {name: role.log_path.read_bytes() for name, role in stack.roles.items()}
        assert made["key"][:SHOWN].encode() in logs["core"]
        assert all(logs.values())
        shown = {**logs, "problem documents": b"\n".join(documents)}
        for where, content in shown.items():
            for secret in secrets | {key[SHOWN:] for key in keys}:
                assert secret.encode() not in content, where


async def operator_errs(stack: Stack, session: aiohttp.ClientSession) -> list[bytes]:
    """The operator's token and the internal secret where they do not belong, and with what is wrong beside them."""
    refused: list[bytes] = []
    for secret in SECRETS.values():
        client = Client(session, stack.core_url, secret)
        for path, body in (("/v1/tenants", {"nmae": "x"}), ("/v1/features", {}), ("/internal/keys/load", {})):
            answer = await client.post(path, body)
            assert answer.status >= HTTPStatus.BAD_REQUEST
            refused.append(answer.raw)
    return refused
