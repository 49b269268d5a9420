"""Does to the running product what a schedule says, and starts again what ended, as a supervisor would."""

import asyncio
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from random import Random

from app.embedded.logs import tail
from app.embedded.server import EmbeddedServer
from tests.chaos.schedule import Fault
from tests.faults.links import LinkedStack
from tests.faults.proxy import Way
from tests.waiting import wait_until_async

END_SECONDS = 40
"""Until a process has ended that was asked to."""
LEAST_LIFE_SECONDS = 0.5
"""Between two starts of a process that ends by itself: its store is away, perhaps."""


class Harm:
    """Carries faults out. `done` counts them by kind and target; `own_ends` says who ended without being asked to."""

    def __init__(self, linked: LinkedStack, chance: Random) -> None:
        self._stack, self._links = linked.stack, linked.links
        self._heal = linked.heal
        self._chance = chance
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._down: set[str] = set()
        self._started_at: dict[str, float] = {}
        self._began_at = time.monotonic()
        self.done: Counter[str] = Counter()
        self.own_ends: Counter[str] = Counter()

    @property
    def kills(self) -> int:
        """Processes that were killed."""
        return sum(count for what, count in self.done.items() if what.startswith("kill "))

    def say(self, what: str) -> None:
        """Print a line with the time of the run."""
        print(f"{time.monotonic() - self._began_at:6.1f} s  {what}", flush=True)  # noqa: T201 - a run tells what it does

    async def run(self, faults: Sequence[Fault]) -> None:
        """All faults at their times, and then everything in order again."""
        self._began_at = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                await self._pass(self._began_at + fault.at_seconds - time.monotonic())
                group.create_task(self._do(fault))
        await self._heal()

    async def tend(self, over: asyncio.Event) -> None:
        """Start whoever ended and was not to, until the run is over."""

        async def look() -> bool:
            for name, role in self._stack.roles.items():
                if name not in self._down and role.has_ended():
                    self._note_end(name)
                    if time.monotonic() - self._started_at.get(name, 0.0) > LEAST_LIFE_SECONDS:
                        self._start(name)
            return over.is_set()

        await wait_until_async(look, float("inf"), "the end of the run")

    def _note_end(self, name: str) -> None:
        role = self._stack.roles[name]
        key = f"{name} {role.pid}"
        if key not in self.own_ends:
            self.say(f"{name} ended by itself with status {role.status}: {_last_line(tail(role.log_path))}")
        self.own_ends[key] = 1

    def _start(self, name: str) -> None:
        self._started_at[name] = time.monotonic()
        self._stack.start(name)

    async def _do(self, fault: Fault) -> None:
        async with self._locks[fault.target.removesuffix(" worker")]:
            self.say(str(fault))
            match fault.kind:
                case "kill":
                    await self._kill(fault)
                case "stop":
                    await self._stop(fault)
                case "pause":
                    await self._pause(fault)
                case _:
                    await self._spoil(fault)
            self.done[f"{fault.kind} {fault.target}"] += 1

    # ---- processes

    async def _kill(self, fault: Fault) -> None:
        match fault.target:
            case "valkey":
                await self._kill_server(self._stack.valkey, signal.SIGKILL, fault.seconds)
            case "postgres":
                await self._kill_server(self._stack.postgres, signal.SIGQUIT, fault.seconds)
            case "edge worker":
                if workers := self._stack.workers("edge"):
                    os.kill(self._chance.choice(workers), signal.SIGKILL)
            case name:
                self._down.add(name)
                await self._stack.kill(name)
                await self._pass(fault.seconds)
                self._start(name)
                self._down.discard(name)

    async def _kill_server(self, server: EmbeddedServer, how: signal.Signals, seconds: float) -> None:
        await self._stack.end_server(server, how)
        await self._pass(seconds)
        server.start()

    async def _stop(self, fault: Fault) -> None:
        """SIGTERM; one that has only begun to start is ended by the signal itself."""
        role = self._stack.roles[fault.target]
        self._down.add(fault.target)
        role.ask_to_stop()

        async def is_gone() -> bool:
            return role.has_ended()

        await wait_until_async(is_gone, END_SECONDS, f"{fault.target} to end")
        if role.status not in {0, -signal.SIGTERM}:
            self._note_end(fault.target)
        await self._pass(fault.seconds)
        self._start(fault.target)
        self._down.discard(fault.target)

    async def _pause(self, fault: Fault) -> None:
        if fault.target == "valkey":
            os.kill(self._stack.valkey.pid, signal.SIGSTOP)
            await self._pass(fault.seconds)
            os.kill(self._stack.valkey.pid, signal.SIGCONT)
        elif not self._stack.roles[fault.target].has_ended():
            self._stack.pause(fault.target)
            await self._pass(fault.seconds)
            self._stack.resume(fault.target)

    # ---- connections

    async def _spoil(self, fault: Fault) -> None:
        link = self._links[fault.target]
        ways = [way for way in Way if way.value == fault.way]
        match fault.kind:
            case "slow":
                link.slow(fault.amount)
            case "stall":
                link.stall(*ways)
            case "abandon":
                link.abandon()
            case "cut":
                link.cut_after(ways[0], fault.amount)
            case _:
                await link.refuse()
        await self._pass(fault.seconds)
        await link.heal()

    async def _pass(self, seconds: float) -> None:
        """Let so much time pass: how long a fault lasts is what it is."""
        ends_at = time.monotonic() + seconds

        async def is_over() -> bool:
            return time.monotonic() >= ends_at

        await wait_until_async(is_over, max(0.0, seconds) + END_SECONDS, "time to pass")


def _last_line(log: str) -> str:
    return next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "nothing in its log")
