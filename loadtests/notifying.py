"""Endpoints of many tenants, some slow or silent, to which jobs send; and the simplest loop of one's own."""

import asyncio
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import uuid4

import aiohttp
import asyncpg
import msgspec

from app.embedded.postgres import EmbeddedPostgres
from app.io.postgres import Database, Transaction
from app.rules.moments import to_at
from app.rules.signature import derive_secret, show_secret
from app.trail import outbox
from app.trail.outbox import Announcement, EventType
from loadtests.measuring import WrongResult
from loadtests.receiver import Behaviour, Ending, Endpoint, Received
from loadtests.receiving import RunningReceiver
from loadtests.servers import running

KEY = "webhook-key-of-the-benches-".ljust(40, "x")
BAD_EVERY = 10
"""One endpoint of so many is slow, or does not answer, by turns."""
SLOW = Behaviour(delay_seconds=2)
HANGING = Behaviour(ending=Ending.NEVER)
CUSTOMERS = 20
"""Of each tenant. Each has a queue of its own."""
AT_ONCE = 1_000
PLAIN_AT_ONCE = 200
PLAIN_SECONDS = 15
PATIENCE_SECONDS = 900
JOBS_STOP_SECONDS = 15
"""They let attempts end that are under way, and those at endpoints that hang do not."""
LOOK_SECONDS = 0.5
MICRO = 1_000_000


class Said(msgspec.Struct, frozen=True):
    """What is told of an event."""

    amount_micro: int
    reason: str = "bench"


class Tenants:
    """As many environments as asked for, with an endpoint each. Events go to one after the other."""

    def __init__(self, postgres: EmbeddedPostgres, receiver: RunningReceiver, count: int) -> None:
        self._owner_url = postgres.url_owner
        self._receiver = receiver
        self._environment_ids = [uuid4() for _ in range(count)]
        self._endpoint_ids = [uuid4() for _ in range(count)]
        self.bad = {path(number) for number in range(0, count, BAD_EVERY)}
        self._next = 0
        asyncio.run(self._insert())

    @property
    def received(self) -> int:
        """How much the receiver has had."""
        return self._receiver.counts().received

    def behave(self, *, badly: bool) -> None:
        """Have the bad endpoints behave so from now on; all others take everything."""
        behaviours = [SLOW, HANGING] if badly else [Behaviour()]
        endpoints: dict[str, Endpoint] = {}
        for number, endpoint_id in enumerate(self._endpoint_ids):
            secret = show_secret(derive_secret(KEY.encode(), endpoint_id, 1))
            is_bad = path(number) in self.bad
            behaviour = behaviours[number // BAD_EVERY % len(behaviours)] if is_bad else Behaviour()
            endpoints[path(number)] = Endpoint([secret], behaviour)
        self._receiver.tell(endpoints)

    async def happen(self, database: Database, count: int) -> None:
        """So many events happen now, one transaction for each AT_ONCE."""
        for start in range(0, count, AT_ONCE):
            now = to_at(datetime.now(UTC))
            said = [self._announcement(now) for _ in range(min(AT_ONCE, count - start))]
            await database.run(None, partial(_announce, said=said))

    def _announcement(self, at: int) -> Announcement:
        number, self._next = self._next, self._next + 1
        tenants = len(self._environment_ids)
        whose = f"user_{number // tenants % CUSTOMERS}"
        data = Said(number * MICRO)
        return Announcement(
            self._environment_ids[number % tenants], uuid4(), EventType.CREDITS_GRANTED, whose, data, at
        )

    def healthy_of(self, count: int) -> int:
        """How many of the next so many events go to endpoints that are not bad."""
        tenants = len(self._environment_ids)
        return sum(path((self._next + number) % tenants) not in self.bad for number in range(count))

    async def forget(self) -> None:
        """Nothing waits any more, and no endpoint has failed."""
        connection = await asyncpg.connect(self._owner_url)
        try:
            await connection.execute(_FORGET)
        finally:
            await connection.close()

    async def _insert(self) -> None:
        connection, now = await asyncpg.connect(self._owner_url), datetime.now(UTC)
        ids = self._environment_ids
        urls = [self._receiver.url(path(number)) for number in range(len(ids))]
        try:
            await connection.execute(_INSERT_TENANTS, ids, now)
            await connection.execute(_INSERT_ENVIRONMENTS, ids, now)
            await connection.execute(_INSERT_ENDPOINTS, ids, self._endpoint_ids, urls, now)
        finally:
            await connection.close()


def path(number: int) -> str:
    """Where an endpoint is at the receiver."""
    return f"/tenants/{number}"


async def _announce(tx: Transaction, said: Sequence[Announcement]) -> None:
    await outbox.announce(tx, said)


@contextmanager
def running_jobs(postgres: EmbeddedPostgres, redis_url: str, directory: Path) -> Iterator[None]:
    """The jobs, which send to this machine. Raises WrongResult where they end otherwise than they should."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "JOBS_DATABASE_URL": postgres.url("quotastack_jobs"),
        "REDIS_URL": redis_url,
        "WEBHOOK_KEY": KEY,
        "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "LOG_LEVEL": "warning",
    }
    command, log_path = [sys.executable, "-m", "app.jobs"], directory / "jobs.log"
    with running(command, environment, log_path, JOBS_STOP_SECONDS) as process:
        yield
    if process.status:
        raise WrongResult(f"the jobs ended with {process.status}")


def wait_for_healthy(tenants: Tenants, receiver: RunningReceiver, since: int, count: int) -> list[Received]:
    """What healthy endpoints received after `since`, once it is so much. Raises WrongResult."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    found: list[Received] = []
    seen = since
    while len(found) < count:
        if time.monotonic() > deadline:
            raise WrongResult(f"{len(found)} of {count} events were delivered within {PATIENCE_SECONDS} seconds")
        time.sleep(LOOK_SECONDS)
        new = receiver.received(since=seen)
        seen += len(new)
        found += [each for each in new if each.path not in tenants.bad]
    return found


def check(received: Sequence[Received], count: int) -> None:
    """Each event once, signed, and a customer's in their order. Raises WrongResult."""
    if len({each.id for each in received}) != count or len(received) != count:
        raise WrongResult(f"{len(received)} deliveries of {count} events")
    if not all(each.is_genuine for each in received):
        raise WrongResult("a delivery was not signed as it should be")
    last: dict[tuple[str, str | None], int] = defaultdict(int)
    for each in received:
        if each.sequence <= last[each.path, each.end_user_id]:
            raise WrongResult(f"{each.path} had number {each.sequence} of {each.end_user_id} too late")
        last[each.path, each.end_user_id] = each.sequence


def rate(received: Sequence[Received]) -> float:
    """Deliveries a second from the first to the last."""
    moments = [each.at for each in received]
    return (len(moments) - 1) * MICRO / (max(moments) - min(moments))


async def send_plainly(owner_url: str, receiver: RunningReceiver, count: int, endpoints: int) -> None:
    """The loop that people write first: some rows, all of them posted at once, and marked; in no order, unsigned."""
    connection = await asyncpg.connect(owner_url)
    try:
        await connection.execute(_PLAIN_TABLE)
        await connection.execute(_PLAIN_EVENTS, count, receiver.url("/plain/"), endpoints)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PLAIN_SECONDS)) as session:
            while rows := await connection.fetch(_PLAIN_NEXT, PLAIN_AT_ONCE):
                taken = await asyncio.gather(*[_post_plainly(session, row["url"], row["body"]) for row in rows])
                ids = [row["id"] for row, is_taken in zip(rows, taken, strict=True) if is_taken]
                await connection.execute("UPDATE plain_webhooks SET sent_at = now() WHERE id = ANY ($1)", ids)
    finally:
        await connection.close()


async def _post_plainly(session: aiohttp.ClientSession, url: str, body: str) -> bool:
    async with session.post(url, data=body) as response:
        return response.ok


_INSERT_TENANTS = "INSERT INTO tenants (id, name, created_at) SELECT id, 'bench', $2 FROM unnest($1::uuid[]) AS id"
_INSERT_ENVIRONMENTS = (
    "INSERT INTO environments (id, tenant_id, kind, created_at) SELECT id, id, 'live', $2 FROM unnest($1::uuid[]) AS id"
)
_INSERT_ENDPOINTS = """
INSERT INTO webhook_endpoints (environment_id, id, url, description, enabled, secret_version, created_at, updated_at)
SELECT environment_id, id, url, '', true, 1, $4, $4
FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS one (environment_id, id, url)
"""
_FORGET = """
TRUNCATE webhook_attempts, webhook_deliveries, webhook_queues, outbox;
UPDATE webhook_endpoints SET failing_since = NULL;
"""
_PLAIN_TABLE = """
DROP TABLE IF EXISTS plain_webhooks;
CREATE TABLE plain_webhooks (id bigint PRIMARY KEY, url text, body text, sent_at timestamptz);
"""
_PLAIN_EVENTS = """
INSERT INTO plain_webhooks (id, url, body)
SELECT number, $2::text || number % $3::integer, json_build_object(
    'type', 'credits.granted', 'timestamp', now(), 'end_user_id', 'user_1', 'sequence', number,
    'data', json_build_object('amount_micro', number, 'reason', 'bench'))
FROM generate_series(0, $1::integer - 1) AS number
"""
_PLAIN_NEXT = "SELECT id, url, body FROM plain_webhooks WHERE sent_at IS NULL ORDER BY id LIMIT $1"
