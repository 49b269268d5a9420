"""The TypeScript SDK, installed from its lock: its own tests on the running stack, and an edge that dies under it."""

import asyncio
import os
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from tests.flow.stack import drained
from tests.programs import program
from tests.sdks.conftest import CREDITS, Shop
from tests.typescript import built_sdk

INSTALL_SECONDS = 300
TEST_SECONDS = 300


async def run(folder: Path, variables: Mapping[str, str], name: str, *arguments: str) -> str:
    """What a program says in a folder, on its way to a good end."""
    environment = {each: os.environ[each] for each in ("PATH", "HOME", "TMPDIR", "CI") if each in os.environ}
    command = (program(name), *arguments)
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment | dict(variables), stdout=PIPE, stderr=STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def package() -> Path:
    """The package's folder, with the tools of its lock in it; format, lint and types hold, and it is built."""
    folder = await asyncio.to_thread(built_sdk)
    await run(folder, {}, "npm", "run", "lint")
    await run(folder, {}, "npm", "exec", "--", "tsc", "-p", "tsconfig.tests.json")
    return folder


def test_its_lock_names_no_registry(repository: Path) -> None:
    """Names, versions and hashes: it installs from whatever registry the machine uses."""
    assert "://" not in (repository / "sdks/typescript/package-lock.json").read_text()


@pytest.mark.slow
@pytest.mark.timeout(INSTALL_SECONDS + TEST_SECONDS)
async def test_its_own_tests_pass(package: Path, shop: Shop) -> None:
    """`npm test` without its preparations: every verb against the stack, and the package as it is published."""
    output = await run(package, shop.variables, "npm", "test", "--ignore-scripts")
    assert "\n# fail 0\n" in output, output


@pytest.mark.timeout(INSTALL_SECONDS + TEST_SECONDS)
async def test_an_edge_that_is_killed_loses_nothing_and_charges_nothing_twice(
    package: Path, shop: Shop, session: aiohttp.ClientSession
) -> None:
    """Killed under load and started again, twice: every event that the SDK took is charged once."""
    core, user = shop.core(session), f"user {uuid4()}"
    await core.created("/v1/subscriptions", {"end_user_id": user, "plan_variant_id": shop.plan_variant_id})
    process = await asyncio.create_subprocess_exec(
        *(program("node"), package / "build/support/metering.js", user),
        env=os.environ | shop.variables,
        stdin=PIPE,
        stdout=PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        await process.stdout.readuntil(b"under way\n")
        for _ in range(2):
            await shop.stack.kill("edge")
            shop.stack.start("edge")
            await shop.stack.ready(session, f"{shop.stack.edge_url}/readyz")
        process.stdin.write_eof()
        said = msgspec.json.decode(await process.stdout.read())
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    assert said["waiting"] == 0
    assert (await drained(core, user))["balance"] == CREDITS - said["count"]
