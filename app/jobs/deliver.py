"""Webhooks are sent: the head of each queue that is due, never what stands behind it.

A queue is taken for a while, its head is sent, what came of it is written down, and only then comes the next. A process
that dies leaves nothing behind but leases that run out: whoever takes such a queue then sends its head again, under the
same id.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import uuid4

import structlog

from app.errors import ServiceError
from app.io import metrics, tracing
from app.io.clock import Clock
from app.io.guard import look_up_for
from app.io.outbound import Delivery
from app.io.postgres import Database
from app.jobs.lanes import FIRST_WIDTH, Lanes
from app.jobs.recorder import Recorder
from app.jobs.rounds import Pace, run_rounds
from app.rules.moments import to_at
from app.rules.retry import JITTER_RANGE
from app.webhooks import store
from app.webhooks.deciding import Attempt, fate_after
from app.webhooks.recording import LEASE, Outcome, take
from app.webhooks.sending import Claimed, Head, body_of, headers_of
from app.webhooks.store import Asked

log: Any = structlog.get_logger()
SLOTS = 512
"""Attempts that one process has under way at once."""
ENVIRONMENT_SLOTS = SLOTS // 2
"""Of one environment: one whose endpoints all hang leaves the others as many."""
QUEUES_AT_ONCE = 256
LEAST_FREE = 16
"""Slots that have to be free before queues are asked for."""
LOOK_SECONDS = 0.1
"""How often due queues are looked for where there were none."""
PAUSE_SECONDS = 0.03
"""Between two looks where there were some: what has ended meanwhile makes room for more at once."""
RUN = 20
"""Deliveries of one queue in a row; then the others of its endpoint have their turn."""
SPARE_SECONDS = 20
"""What is left of a lease when an attempt begins: it ends before the lease does, whatever the other side does."""
STOP_SECONDS = 5
"""How long attempts under way may take once the process is told to stop."""
ANSWER_CHARACTERS = 1_024
_ATTEMPTS = metrics.counter("quotastack_webhook_attempts_total", "Attempts, by what became of the event", ["outcome"])
_SECONDS = metrics.histogram("quotastack_webhook_attempt_seconds", "From looking up the name to the end of the answer")
_UNDER_WAY = metrics.gauge("quotastack_webhook_attempts_under_way", "Queues that this process is at")


Post = Callable[[str, Mapping[str, str], bytes], Awaitable[Delivery]]
"""From URL, headers and body to what became of it; it never raises for what the other side does."""


class Deliverer:
    """Sends what is due until told to stop. Any number may run at once: a queue has one of them."""

    def __init__(self, database: Database, post: Post, key: str, clock: Clock) -> None:
        self._database = database
        self._post = post
        self._key = key.encode()
        self._clock = clock
        self._lanes = Lanes(ENVIRONMENT_SLOTS)
        self._recorder = Recorder(database, clock)
        self._tasks: dict[asyncio.Task[None], Claimed] = {}
        self._freed = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Look for due queues until told to stop, then let what is under way end; a round that fails is tried again.

        Raises what the recorder raises: without it nothing could go on.
        """
        async with asyncio.TaskGroup() as group:
            recording = group.create_task(self._recorder.run())
            try:
                await run_rounds(partial(self._round, stop), Pace("deliveries", LOOK_SECONDS), stop)
                await self._wind_up()
            finally:
                recording.cancel()
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _round(self, stop: asyncio.Event) -> bool:
        """Take some queues; whether there may be more."""
        while SLOTS - len(self._tasks) < LEAST_FREE and not stop.is_set():
            self._freed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._freed.wait(), LOOK_SECONDS)
        now = self._clock.now()
        lease_until = _seconds() + LEASE.total_seconds() - SPARE_SECONDS
        asked = Asked(
            uuid4(),
            min(QUEUES_AT_ONCE, SLOTS - len(self._tasks)),
            FIRST_WIDTH,
            self._lanes.rooms(to_at(now)),
            ENVIRONMENT_SLOTS,
            self._lanes.environment_rooms(),
        )
        heads = await self._database.run(None, partial(take, asked=asked, now=now))
        for head in heads:
            key = head.queue.key
            self._lanes.begin(key.environment_id, key.endpoint_id, to_at(now), is_failing=head.is_failing)
            task = asyncio.create_task(self._deliver(head, lease_until))
            self._tasks[task] = head.queue
            _UNDER_WAY.inc()
            task.add_done_callback(self._ended)
        if heads:
            await asyncio.sleep(PAUSE_SECONDS)
        return bool(heads)

    def _ended(self, task: asyncio.Task[None]) -> None:
        queue = self._tasks.pop(task)
        _UNDER_WAY.dec()
        if not task.cancelled() and (error := task.exception()):
            log.error("delivery_broke_off", endpoint_id=str(queue.key.endpoint_id), error=repr(error))
        self._lanes.end(queue.key.endpoint_id, to_at(self._clock.now()))
        self._freed.set()

    async def _deliver(self, first: Head, lease_until: float) -> None:
        """Send the heads of a queue, one after the other, as long as they are taken."""
        look_up_for(first.queue.key.environment_id)
        head: Head | None = first
        count = 0
        while head is not None and _seconds() < lease_until:
            count += 1
            attempt = await self._attempt(head)
            self._lanes.learn(head.queue.key.endpoint_id, attempt)
            fate = fate_after(attempt, head.number, random.randint(0, JITTER_RANGE))  # noqa: S311 - no secret
            _SECONDS.observe(attempt.elapsed_ms / 1_000)
            _ATTEMPTS.labels("failed" if fate.due_at is not None else fate.state.value).inc()
            lease_until = _seconds() + LEASE.total_seconds() - SPARE_SECONDS
            goes_on = attempt.went_well and count < RUN
            head = await self._recorder.record(Outcome(head, attempt, fate, goes_on=goes_on))

    async def _attempt(self, head: Head) -> Attempt:
        now, body = self._clock.now(), body_of(head.event)
        secrets = head.secrets.good(self._key, head.queue.key.endpoint_id, now)
        headers = dict(headers_of(head.event, body, secrets, now))
        told = {"quotastack.event_id": headers["webhook-id"], "quotastack.event_type": head.event.type}
        with tracing.span("webhook delivery", told, kind="client", parent=head.event.traceparent):
            if traceparent := tracing.current_traceparent():
                headers["traceparent"] = traceparent
            answered = await self._post(head.url, headers, body)
        return Attempt(
            to_at(self._clock.now()),
            answered.status,
            None if answered.failure is None else str(answered.failure),
            answered.retry_after_seconds,
            answered.elapsed_ms,
            _text(answered.body_start),
        )

    async def _wind_up(self) -> None:
        """Let what is under way end in time; give back what does not."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(set(self._tasks), timeout=STOP_SECONDS)
        left = [self._tasks[task] for task in late]
        for task in late:
            task.cancel()
        if left:
            await asyncio.gather(*late, return_exceptions=True)
            with suppress(ServiceError):  # their leases run out
                await self._database.run(None, partial(store.give_back, queues=left, now=self._clock.now()))


def _seconds() -> float:
    return asyncio.get_running_loop().time()


def _text(answer: bytes) -> str | None:
    """The beginning of an answer, as it can be kept and shown."""
    return answer.decode("utf-8", "replace").replace("\0", "\ufffd")[:ANSWER_CHARACTERS] or None
