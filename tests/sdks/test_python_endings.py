"""Processes that use the Python SDK end, are killed and fork: what they were told is kept is charged, once."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from quotastack import QuotaStack, ending
from quotastack.events import Event
from quotastack.settings import Settings
from tests.flow.stack import drained
from tests.ports import free_port
from tests.sdks.clients import KINDS, Kind, python
from tests.sdks.conftest import CREDITS, Shop
from tests.waiting import wait_until_async

RECORDER = Path(__file__).parent / "recorder.py"


@pytest.fixture
async def ada(shop: Shop, session: aiohttp.ClientSession) -> str:
    """A customer on the plan."""
    user = f"user_{uuid4().hex[:8]}"
    body = {"end_user_id": user, "plan_variant_id": shop.plan_variant_id}
    await shop.core(session).created("/v1/subscriptions", body)
    return user


@asynccontextmanager
async def program(
    what: str, kind: Kind, user: str, shop: Shop, *, spool: Path | None, is_away: bool
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that runs it; where the service is away, nobody listens at the edge's address."""
    source = str(RECORDER.parents[2] / "sdks" / "python" / "src")
    variables = shop.variables | {"PYTHONPATH": source}
    if is_away:
        variables["QUOTASTACK_EDGE_URL"] = f"http://127.0.0.1:{free_port()}"
    arguments = (what, kind, "" if spool is None else str(spool), user)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(RECORDER), *arguments, env=variables, stdin=pipe, stdout=pipe
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate(b"")  # closes its pipes, which a child may have, too


async def charged(shop: Shop, session: aiohttp.ClientSession, user: str, units: int) -> None:
    """So much arrives, and no more."""

    async def has_arrived() -> bool:
        return (await drained(shop.core(session), user))["total"] <= CREDITS - units

    await wait_until_async(has_arrived, 30, f"{units} units of {user}")
    assert (await drained(shop.core(session), user))["total"] == CREDITS - units


async def replay(shop: Shop, spool: Path, kind: Kind = "sync") -> None:
    """What the next process does."""
    async with python(
        kind, api_key=shop.key, url=shop.stack.core_url, edge_url=shop.stack.edge_url, spool=spool
    ) as next_one:

        async def is_empty() -> bool:
            return (await next_one.flush()).waiting == 0

        await wait_until_async(is_empty, 30, "the spool to be empty")


def left(spool: Path) -> list[Path]:
    """Directories with usage that nobody sent."""
    return [path for path in spool.iterdir() if path.is_dir()]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_process_is_killed_while_the_service_is_away(
    kind: Kind, ada: str, shop: Shop, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Whatever it was told is kept, the next process sends; with two that died, and two that come at once."""
    kept = 0
    for _ in range(2):
        async with program("record", kind, ada, shop, spool=tmp_path, is_away=True) as process:
            assert process.stdout is not None
            for _ in range(30):
                assert (await process.stdout.readline()).split()[1] == b"fallback"
                kept += 1
            process.kill()
            kept += len((await process.stdout.read()).splitlines())
    keys = {line.split(f"{ada}:")[1].split('"')[0] for line in _lines(tmp_path)}
    # Both processes used the same keys: what both had is one event.
    assert 30 <= len(keys) < kept
    await asyncio.gather(replay(shop, tmp_path, kind), replay(shop, tmp_path))
    await charged(shop, session, ada, len(keys))
    assert not left(tmp_path)


def _lines(spool: Path) -> list[str]:
    return [
        line for path in spool.glob("*/events.jsonl") for line in path.read_text().splitlines() if line.endswith("}")
    ]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_process_ends_with_a_full_buffer(
    kind: Kind, ada: str, shop: Shop, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Without a word to the client: the spool has it, or it is sent at the exit."""
    async with program("leave", kind, ada, shop, spool=tmp_path, is_away=True) as process:
        assert await process.wait() == 0
    await replay(shop, tmp_path, kind)
    await charged(shop, session, ada, 5)
    assert not left(tmp_path)
    other = f"{ada}b"
    body = {"end_user_id": other, "plan_variant_id": shop.plan_variant_id}
    await shop.core(session).created("/v1/subscriptions", body)
    async with program("leave", kind, other, shop, spool=None, is_away=False) as process:
        assert await process.wait() == 0
    await charged(shop, session, other, 5)


@pytest.mark.parametrize("what", ["fork", "multiprocess"])
@pytest.mark.parametrize("is_durable", [True, False])
async def test_a_process_forks(
    what: str, ada: str, shop: Shop, session: aiohttp.ClientSession, tmp_path: Path, *, is_durable: bool
) -> None:
    """Parent and child each send what is theirs, however the child ends."""
    spool = tmp_path if is_durable else None
    async with program(what, "sync", ada, shop, spool=spool, is_away=is_durable) as process:
        assert await process.wait() == 0
    if is_durable:
        await replay(shop, tmp_path)
    await charged(shop, session, ada, 5)


async def test_a_child_that_outlives_its_parent(
    ada: str, shop: Shop, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Holds nothing of what is the parent's: others take that over at once."""
    async with program("orphan", "sync", ada, shop, spool=tmp_path, is_away=True) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"child\n"

        # wait() would wait for the pipes, too, which the child has: where the process is still there, for ever.
        async def is_over() -> bool:
            return process.returncode is not None

        await wait_until_async(is_over, 30, "the parent's end")
        assert process.returncode == 0
        await replay(shop, tmp_path)
        await charged(shop, session, ada, 5)


def test_what_is_taken_in_hand_at_the_exit_is_seen() -> None:
    """A thread may be moving it from the buffer just then: it is in one of the two for whoever asks."""
    client = QuotaStack("qs_test_nobody", url="http://127.0.0.1:9", flush_interval=3600.0)
    client.buffer_usage("ada", feature_key="f", idempotency_key="k")
    delivery, left = client._delivery, list[Event]()  # noqa: SLF001
    leaving = threading.Thread(target=lambda: left.extend(delivery.leave()))
    with delivery._guard:  # noqa: SLF001
        taken = [delivery._buffer.popleft()]  # noqa: SLF001
        leaving.start()
        leaving.join(0.2)
        delivery._in_hand = taken  # noqa: SLF001
    leaving.join(10)
    assert [event.idempotency_key for event in left] == ["k"]
    ending.unwatch(delivery)


def test_a_client_that_cannot_leave_keeps_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """From its exit."""
    asked: list[str] = []

    class Leaving:
        settings = Settings(api_key="qs_test_nobody", url="http://127.0.0.1:9", edge_url="http://127.0.0.1:9")

        def leave(self) -> list[Event]:
            asked.append("left")
            raise RuntimeError("deque mutated during iteration")

    monkeypatch.setattr(ending, "_watched", {Leaving(), Leaving()})
    ending._leave()  # noqa: SLF001
    assert asked == ["left", "left"]
