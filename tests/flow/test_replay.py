"""One hour of real model requests: whatever happens on the way, the ledger ends with exactly its totals."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.io.postgres import Database, Transaction
from tests.flow.stack import Stack, Tenant, open_session, running_stack
from tests.waiting import wait_until_async

TRACE_FILE = os.environ.get("TRACE_FILE", "")
REQUESTS, USERS = 19_366, 999
EVENTS = 2 * REQUESTS
# Per feature: events, requests, units, micro-credits. A million tokens cost 3 and 15 credits, so none is rounded.
TOTALS = {
    "input_tokens": (REQUESTS, REQUESTS, 22_361_870, 3 * 22_361_870),
    "output_tokens": (REQUESTS, REQUESTS, 4_088_665, 15 * 4_088_665),
}
KILLS, STEPS = 10, 20
SEED = 20_231_116
REPLAY_SECONDS, POSTED_SECONDS = 150, 60

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("TRACE_FILE" not in os.environ, reason="TRACE_FILE names no file of model requests"),
    pytest.mark.timeout(300),
]


class Replay:
    """A `quotastack replay` that runs."""

    def __init__(self, process: "subprocess.Popen[bytes]", output: Path, log: Path) -> None:
        self._process = process
        self._output = output
        self._log = log

    @property
    def steps(self) -> int:
        """How many twentieths of the events it has told of."""
        return self._log.read_text().count("events: ")

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    async def wait_for_step(self, step: int) -> None:
        """Wait until it is so far."""

        async def is_so_far() -> bool:
            if self.steps >= step:
                return True
            assert not self.is_over, self._log.read_text()
            return False

        await wait_until_async(is_so_far, REPLAY_SECONDS, f"step {step} of {STEPS}")

    async def finished(self) -> dict[str, list[str]]:
        """Its summary once it has ended well: the cells of each row by the first of them."""

        async def is_over() -> bool:
            return self.is_over

        await wait_until_async(is_over, REPLAY_SECONDS, "the end of the replay")
        assert self._process.returncode == 0, self._log.read_text()
        rows = [line.replace("│", " ").split() for line in self._output.read_text().splitlines()]
        return {cells[0]: cells[1:] for cells in rows if cells}


@contextmanager
def replaying(stack: Stack, tenant: Tenant, directory: Path, *options: str) -> Iterator[Replay]:
    """Run the command; it does not outlive the block."""
    command = [sys.executable, "-m", "app.cli", "replay", TRACE_FILE, "--base-url", stack.core_url]
    output, log = directory / "replay.out", directory / "replay.log"
    with output.open("wb") as out, log.open("wb") as err:
        process = subprocess.Popen([*command, "--key", tenant.sandbox_key, *options], stdout=out, stderr=err)
    try:
        yield Replay(process, output, log)
    finally:
        process.kill()
        process.wait()


async def read_totals(stack: Stack, tenant: Tenant) -> dict[str, tuple[int, ...]]:
    """What the ledger has of each feature: events, requests, units, micro-credits."""
    database = await Database.open(stack.stores.database_url, "test", 1)

    async def read(tx: Transaction) -> dict[str, tuple[int, ...]]:
        rows = await tx.connection.fetch(
            "SELECT feature_key, count(*), count(DISTINCT split_part(idempotency_key, ':', 2)), "
            "sum(units_micro)::bigint / 1000000, sum(cost_micro)::bigint "
            "FROM usage_events WHERE environment_id = $1 GROUP BY feature_key",
            tenant.environment_id,
        )
        return {row[0]: tuple(row[1:]) for row in rows}

    try:
        return await database.run(None, read)
    finally:
        await database.close()


async def posted_totals(stack: Stack, tenant: Tenant) -> dict[str, tuple[int, ...]]:
    """The same, once at least as many events are posted as were sent."""

    async def all_posted() -> dict[str, tuple[int, ...]] | None:
        totals = await read_totals(stack, tenant)
        return totals if sum(events for events, *_ in totals.values()) >= EVENTS else None

    return await wait_until_async(all_posted, POSTED_SECONDS, "every event to be posted")


async def test_the_ledger_ends_with_the_totals_of_the_file(tmp_path: Path) -> None:
    """Every token once, at its price; the same after a second run, which only meets what is there."""
    async with running_stack(tmp_path) as stack, open_session() as session:
        tenant = await stack.tenant(session)
        with replaying(stack, tenant, tmp_path) as first:
            summary = await first.finished()
        assert summary[str(REQUESTS)] == [str(EVENTS), str(EVENTS), "0", "0"]
        assert summary["input_tokens"] == ["22361870", "67.08561"]
        assert summary["output_tokens"] == ["4088665", "61.329975"]
        assert await posted_totals(stack, tenant) == TOTALS
        with replaying(stack, tenant, tmp_path) as second:
            again = await second.finished()
        assert again == summary | {str(REQUESTS): [str(EVENTS), str(EVENTS), str(EVENTS), "0"]}
        report = await stack.verify()
        assert (report.findings, report.counts["events"]) == ([], EVENTS)
        assert await read_totals(stack, tenant) == TOTALS


async def test_edge_and_flusher_are_killed_ten_times_on_the_way(tmp_path: Path) -> None:
    """The command goes on by itself, and the ledger ends the same."""
    randomness = random.Random(SEED)
    async with running_stack(tmp_path) as stack, open_session() as session:
        tenant = await stack.tenant(session)
        with replaying(stack, tenant, tmp_path, "--batch-size", "100") as run:
            for step in sorted(randomness.sample(range(STEPS), KILLS)):
                await run.wait_for_step(step)
                name = randomness.choice(["edge", "flusher"])
                await stack.kill(name)
                stack.start(name)
            summary = await run.finished()
        assert summary[str(REQUESTS)][:2] == [str(EVENTS), str(EVENTS)]
        assert await posted_totals(stack, tenant) == TOTALS
        report = await stack.verify()
        assert (report.findings, report.counts["events"]) == ([], EVENTS)
        assert report.counts["accounts"] == USERS
