"""One running stack for all pages, and a tenant for each, as `make run` makes it and the first steps leave it."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.embedded.demo import FEATURE_KEY, ensure_demo
from app.embedded.dev_file import DevStack
from app.embedded.first_steps import first_steps
from tests.flow.stack import SECRETS, Stack, running_stack
from tests.ports import free_ports
from tests.programs import program


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Core, edge, flusher and jobs on servers of their own."""
    ports = dict(zip(("FLUSHER_METRICS_PORT", "JOBS_METRICS_PORT"), map(str, free_ports(2)), strict=True))
    async with running_stack(tmp_path_factory.mktemp("stack"), **ports) as running:
        yield running


def newcomer(stack: Stack) -> DevStack:
    """A tenant of its own, with the catalogue and the subscription of the README's first steps."""
    demo = asyncio.run(ensure_demo(stack.core_url, SECRETS["ADMIN_TOKEN"], None, lambda _: None))
    assert demo.plan_variant_id is not None
    told = DevStack(
        core_url=stack.core_url,
        edge_url=stack.edge_url,
        admin_token=SECRETS["ADMIN_TOKEN"],
        tenant_id=demo.tenant_id,
        sandbox_key=demo.sandbox_key,
        live_key=demo.live_key,
        plan_variant_id=demo.plan_variant_id,
        feature_key=FEATURE_KEY,
        database_url=stack.stores.database_url,
        redis_url=stack.stores.redis_url,
        pids={},
    )
    subprocess.run([program("sh"), "-euc", first_steps(told)[0]], check=True, stdout=subprocess.DEVNULL)
    return told


def variables_of(stack: Stack, told: DevStack, folder: Path) -> dict[str, str]:
    """What a reader's shell knows after the README's first steps."""
    everywhere = {
        name: stack.environments["migrate"][name] for name in ("PATH", "LANG") if name in stack.environments["migrate"]
    }
    return {
        **everywhere,
        "HOME": str(folder),
        "CORE": told.core_url,
        "EDGE": told.edge_url,
        "KEY": told.sandbox_key,
        "VARIANT": told.plan_variant_id,
        "QUOTASTACK_URL": told.core_url,
        "QUOTASTACK_EDGE_URL": told.edge_url,
        "QUOTASTACK_KEY": told.sandbox_key,
    }


def call(told: DevStack, method: str, path: str, body: Any = None) -> Any:
    """The answer to a request that has to succeed."""
    headers = {"Authorization": f"Bearer {told.sandbox_key}"}
    answer = httpx.request(method, told.core_url + path, headers=headers, json=body)
    assert answer.is_success, answer.text
    return answer.json()
