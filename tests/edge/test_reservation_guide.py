"""docs/reservations.md: what is pasted from there works, and answers what is written there."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from tests.edge.world import Tenant
from tests.programs import program

pytestmark = pytest.mark.asyncio(loop_scope="session")

GUIDE = (Path(__file__).parents[2] / "docs" / "reservations.md").read_text()


def block(language: str) -> str:
    """The first block of the guide in a language."""
    found = re.search(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    assert found
    return found[1]


async def run(script: str) -> str:
    """What a shell prints."""
    process = await asyncio.create_subprocess_exec(
        program("sh"), "-ec", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors
    return output.decode().strip()


async def test_the_commands(tenant: Tenant) -> None:
    """Each answers as its comment says, with ids and times of its own."""
    program("curl")
    await tenant.seed("user_123", 50_000)
    opening, commit = block("sh").replace("http://localhost:8001", tenant.world.edge.url).split("\n\n")
    opening, commit = opening.replace("KEY=qs_test_...", f"KEY={tenant.key}"), commit.replace("RESERVATION=rsv_...", "")
    first = await run(opening)
    assert shape(first) == shape(re.findall(r"# (\{.*\})", opening)[0])
    reservation_id = re.findall(r"rsv_[0-9a-f]{32}", first)[0]
    second = await run(f"KEY={tenant.key} EDGE={tenant.world.edge.url} RESERVATION={reservation_id}\n{commit}")
    assert shape(second) == shape(re.findall(r"# (\{.*\})", commit)[0])


def shape(answer: str) -> str:
    """An answer without what is another each time."""
    return re.sub(r"rsv_[0-9a-f.]+|\d{4}-\d\d-\d\dT[\d:.]+Z", "*", answer)


class Metering:
    """A client as the guide takes one."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant

    async def post(self, path: str, body: Any) -> Any:
        """The body of a 2xx."""
        answer = await self._tenant.send("POST", path, json=body)
        assert answer.status in {200, 201}, answer.raw
        return answer.body


async def model(prompt: int) -> AsyncIterator[Any]:
    """Streams pieces of ten tokens."""
    for count in range(prompt):
        yield SimpleNamespace(tokens_so_far=10 * (count + 1))


@pytest.mark.parametrize("read", [100, 3], ids=["to its end", "until the client disconnects"])
async def test_the_streaming_pattern(tenant: Tenant, read: int) -> None:
    """What was streamed is charged, whoever ends the stream; the rest comes back."""
    await tenant.seed("user_1", 1000)
    names: dict[str, Any] = {"monotonic": monotonic, "model": model}
    exec(compile(block("python"), "docs/reservations.md", "exec"), names)  # noqa: S102 - the guide's own example
    streamed = names["stream"](Metering(tenant), "user_1", "request-1", 5, 100_000)
    pieces = 0
    async for _ in streamed:
        pieces += 1
        if pieces == read:
            break
    await streamed.aclose()
    assert (await tenant.check("user_1")).body["balance"] == pytest.approx(1000 - pieces * 10 * 3 / 1000)
    assert len(await tenant.entries("user_1")) == 2
