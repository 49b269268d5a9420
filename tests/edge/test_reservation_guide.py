"""docs/reservations.md: its pattern for streams charges what was streamed."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from tests.edge.world import Tenant

pytestmark = pytest.mark.asyncio(loop_scope="session")

GUIDE = (Path(__file__).parents[2] / "docs" / "reservations.md").read_text()


def block(language: str) -> str:
    """The first block of the guide in a language."""
    found = re.search(rf"```{language}[^\n]*\n(.*?)```", GUIDE, re.DOTALL)
    assert found
    return found[1]


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
