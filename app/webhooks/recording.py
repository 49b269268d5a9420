"""What attempts came to is written down, many in one transaction, and what comes next in their queues is read."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from app.io.postgres import Transaction
from app.rules.moments import to_at, to_datetime
from app.trail import outbox
from app.trail.outbox import Announcement, EventType
from app.webhooks import store
from app.webhooks.deciding import Attempt, Fate, Health, health_after
from app.webhooks.filtering import ENDPOINT_PREFIX
from app.webhooks.sending import Claimed, Head
from app.webhooks.store import Endpoint, Settled
from app.wire.ids import derived_id, show

if TYPE_CHECKING:
    from uuid import UUID

LEASE = timedelta(seconds=60)
"""How long a process has a queue that it took. When it has died, another one goes on after that."""


class Outcome(msgspec.Struct, frozen=True):
    """An attempt at the head of a queue, and what follows from it."""

    head: Head
    attempt: Attempt
    fate: Fate
    goes_on: bool
    """Whether this process takes what comes next in the queue."""

    @property
    def delivery(self) -> "tuple[UUID, UUID]":
        """Environment and id of what was sent."""
        return self.head.queue.key.environment_id, self.head.delivery_id


class EndpointDisabled(msgspec.Struct, frozen=True):
    """What a webhook says of `webhook_endpoint.disabled`: `reason` is `gone` or `failing`."""

    webhook_endpoint_id: str
    url: str
    reason: str
    disabled_at: datetime


async def record(tx: Transaction, outcomes: Sequence[Outcome], now: datetime) -> Mapping[Claimed, Head]:
    """Write down what became of heads; the next heads of those queues that go on.

    A queue that was taken by another process meanwhile is left to it, and its attempt is forgotten: it is made again.
    What was written down already, by a transaction whose commit was not heard of, stays as it is: its queue goes on.
    """
    endpoints = await _lock_endpoints(tx, outcomes)
    held = await store.hold_queues(tx, [outcome.head.queue for outcome in outcomes])
    known = [outcome for outcome in outcomes if outcome.head.queue in held]
    if not known:
        return {}
    written = await store.insert_attempts(tx, [(each.head, each.attempt) for each in known])
    new = [each for each in known if each.delivery in written]
    await store.settle_deliveries(tx, [(each.head, each.fate.state) for each in new], now)
    settled = await store.settle_queues(tx, [_settled(each, now) for each in new])
    await _judge_endpoints(tx, endpoints, new, now)
    going_on = {*settled, *[each.head.queue.key for each in known if each.delivery not in written]}
    claims = {each.head.queue.key: each.head.queue for each in known}
    return {head.queue: head for head in await store.read_heads(tx, [claims[key] for key in sorted(going_on)])}


def _settled(outcome: Outcome, now: datetime) -> Settled:
    key, due_at = outcome.head.queue.key, outcome.fate.due_at
    if due_at is not None:
        return Settled(key, done=0, due_at=to_datetime(due_at), goes_on=False)
    return Settled(key, done=1, due_at=now + LEASE if outcome.goes_on else now, goes_on=outcome.goes_on)


async def _lock_endpoints(tx: Transaction, outcomes: Sequence[Outcome]) -> Sequence[Endpoint]:
    """Endpoints with which it may go otherwise from now on. Before the queues: so does whoever changes an endpoint."""
    if all(each.attempt.went_well and not each.head.is_failing for each in outcomes):
        return ()
    keys = {(each.head.queue.key.environment_id, each.head.queue.key.endpoint_id) for each in outcomes}
    return await store.lock_endpoints(tx, sorted(keys))


async def _judge_endpoints(
    tx: Transaction, endpoints: Sequence[Endpoint], outcomes: Sequence[Outcome], now: datetime
) -> None:
    """Note how it goes with endpoints, and disable those that want no more or have failed for too long."""
    attempts: dict[tuple[UUID, UUID], list[Attempt]] = defaultdict(list)
    for outcome in outcomes:
        key = outcome.head.queue.key
        attempts[key.environment_id, key.endpoint_id].append(outcome.attempt)
    changed: list[tuple[Endpoint, Health]] = []
    for endpoint in endpoints:
        failing_since = None if endpoint.failing_since is None else to_at(endpoint.failing_since)
        ended = sorted(attempts[endpoint.environment_id, endpoint.id], key=lambda attempt: attempt.at)
        health = health_after(failing_since, ended)
        if endpoint.enabled and health != Health(failing_since):
            changed.append((endpoint, health))
    await store.write_health(tx, changed, now)
    await outbox.announce(tx, [_told(endpoint, health, now) for endpoint, health in changed if health.disabled])


def _told(endpoint: Endpoint, health: Health, now: datetime) -> Announcement:
    shown = show(ENDPOINT_PREFIX, endpoint.id)
    data = EndpointDisabled(shown, endpoint.url, str(health.disabled), now)
    told_id = derived_id(b"disabled", endpoint.id.hex.encode(), b"%d" % to_at(now))
    return Announcement(endpoint.environment_id, told_id, EventType.WEBHOOK_ENDPOINT_DISABLED, None, data, to_at(now))


async def take(tx: Transaction, asked: store.Asked, now: datetime) -> list[Head]:
    """Take queues that are due, some at most, and read their heads."""
    keys = await store.claim_queues(tx, asked, now, now + LEASE)
    return await store.read_heads(tx, [Claimed(key, asked.claim) for key in keys])
