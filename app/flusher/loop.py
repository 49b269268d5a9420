"""The flusher's loop: keep leases, look at the memory, read, post, publish, trim; over and over.

Whatever fails, nothing is lost: the cursor commits with its effects, and a turn that broke begins again at the cursor.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from math import isfinite
from uuid import UUID, uuid4

import msgspec
import structlog

from app.entitlements.publishing import Cursors, new_token, publish_accounts, publish_left_over
from app.errors import ServiceError
from app.flusher import metrics, store
from app.flusher.memory import Cursor, Verdict, verdict
from app.flusher.posting import Entries, Posting
from app.flusher.reading import BATCH_ENTRIES, Reader
from app.flusher.store import Fenced
from app.flusher.under_way import UnderWay
from app.flusher.writer import Batch, Writer, customers_of
from app.io import tracing
from app.io.clock import Clock
from app.io.postgres import UNSTORABLE, Database, Transaction
from app.io.readiness import OK, Part, Report
from app.io.redis import RedisUnavailable
from app.io.stream import PartitionMemory, ServerIdentity, StreamConnection
from app.rules.moments import to_at
from app.wire.events import parse_entry, show_stream_id
from app.wire.snapshot import AccountState

log = structlog.get_logger()
LEASE = timedelta(seconds=5)
RENEW_SECONDS = 1.0
BLOCK_MILLISECONDS = 500
BATCHES_AT_ONCE = 2
"""While Postgres works on one, the other is decided here; more would wait for the same two."""
FLUSH_INTERVAL_SECONDS = 0.02
"""Flushes begin at least this far apart: a quiet system writes small batches, a busy one large ones."""
PAUSE_SECONDS = 0.2
"""Rest after a turn that failed."""
QUIET_SECONDS = 30
"""Without a turn that went well for so long the process says that it is not ready; the longest batch takes less."""


class Keeping(msgspec.Struct, frozen=True):
    """How long flushed entries stay in a stream, for a Postgres that falls back to a standby; and how many at most."""

    trim_lag_seconds: int
    stream_max_entries: int


class Flusher:
    """One process that owns partitions by lease. `run` ends when `stop` is set, after the turn under way."""

    def __init__(self, database: Database, stream: StreamConnection, clock: Clock, keeping: Keeping, zone: str) -> None:
        self._database = database
        self._stream = stream
        self._clock = clock
        self._keeping = keeping
        self._owner = uuid4()
        self._reader = Reader(stream)
        self._writer = Writer(database, clock, self._owner, zone)
        self._cursors: dict[int, Cursor] = {}
        """Partitions that are ours and whose memory was looked at."""
        self._renewed_at = float("-inf")
        self._turned_at = float("-inf")
        """When a turn went well last."""
        self._last_failure = ""

    async def ready(self) -> Report:
        """Whether turns go well."""
        quiet_seconds = self._now() - self._turned_at
        if quiet_seconds <= QUIET_SECONDS:
            return Report("ready", {"turns": OK})
        since = f"for {QUIET_SECONDS} s" if isfinite(self._turned_at) else "yet"
        if self._last_failure:
            detail = f"None has gone well {since}: {self._last_failure}. The log says why; see Postgres and Redis."
        else:
            detail = f"None has ended {since}. A start takes seconds; a longer wait is for Postgres or Redis."
        return Report("unavailable", {"turns": Part("failing", detail)})

    async def run(self, stop: asyncio.Event) -> None:
        """Flush until told to stop, then let the leases go."""
        await self._database.run(None, self._insert_leases)
        while not stop.is_set():
            started_at = self._now()
            try:
                await self._turn(stop)
            except (RedisUnavailable, Fenced, ServiceError) as error:
                log.warning("turn_failed", error=str(error), kind=type(error).__name__)
                metrics.FAILED_TURNS.inc()
                self._last_failure = type(error).__name__
                self._forget()
                await asyncio.sleep(PAUSE_SECONDS)
                await self._reopen()
            else:
                self._turned_at = self._now()
            metrics.LEASES.set(len(self._cursors))
            await asyncio.sleep(max(0.0, started_at + FLUSH_INTERVAL_SECONDS - self._now()))
        with suppress(ServiceError):  # where Postgres is away they run out by themselves
            await self._database.run(None, self._release_leases)

    async def _reopen(self) -> None:
        """A new connection to the streams, where that can be had; else the next turn fails and comes here again."""
        with suppress(RedisUnavailable):
            await self._stream.reopen()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _renewal_is_due(self) -> bool:
        return self._now() - self._renewed_at >= RENEW_SECONDS

    def _forget(self) -> None:
        """Look at leases, cursors and memory again before anything else."""
        self._cursors = {}
        self._renewed_at = float("-inf")

    async def _insert_leases(self, tx: Transaction) -> None:
        await store.insert_leases(tx, self._stream.agreement.partitions, self._owner)

    async def _release_leases(self, tx: Transaction) -> None:
        await store.release_leases(tx, self._owner)

    async def _renew_leases(self, tx: Transaction) -> set[int]:
        return await store.renew_leases(tx, self._stream.agreement.partitions, self._owner, LEASE)

    async def _extend_leases(self, tx: Transaction) -> None:
        await store.extend_leases(tx, self._owner, LEASE)

    async def _turn(self, stop: asyncio.Event) -> None:
        """Keep the partitions, then flush until that is due again."""
        self._renewed_at = self._now()
        await self._keep_partitions()
        await publish_left_over(self._database, self._stream)
        if self._cursors:
            await self._flush(stop)
        else:
            await asyncio.sleep(RENEW_SECONDS / 2)

    # ---- posting

    async def _flush(self, stop: asyncio.Event) -> None:
        """Read, post and publish until the leases need renewal. While Postgres works on one batch, the next is read."""
        under_way = UnderWay()
        try:
            while not stop.is_set() and not self._renewal_is_due():
                started_at = self._now()
                entries = await self._read(under_way)
                await under_way.wait_until_at_most(BATCHES_AT_ONCE - 1 if entries else max(0, len(under_way) - 1))
                if entries:
                    under_way.start(self._post(entries), entries)
                await asyncio.sleep(max(0.0, started_at + FLUSH_INTERVAL_SECONDS - self._now()))
                under_way.take_out_done()
        except BaseException as error:
            await under_way.finish_after(error)
            raise
        await under_way.finish()

    async def _read(self, under_way: UnderWay) -> dict[int, Entries]:
        """What comes next in the partitions that no batch under way has entries of."""
        free = self._cursors.keys() - under_way.partitions
        positions = {partition: self._cursors[partition].last_id for partition in sorted(free)}
        return await self._reader.read(positions, None if under_way else BLOCK_MILLISECONDS) if positions else {}

    async def _post(self, entries: dict[int, Entries]) -> None:
        """Post and publish; an entry that the ledger's tables do not take is searched for, and rejected."""
        batch = Batch({partition: self._cursors[partition] for partition in entries}, entries)
        size = {"quotastack.entries": batch.size(), "quotastack.partitions": len(entries)}
        with tracing.span("flusher batch", size):
            await self._post_batch(batch)

    async def _post_batch(self, batch: Batch) -> None:
        started_at = self._now()
        try:
            posting = await self._writer.post(batch)
        except UNSTORABLE as error:
            log.error("batch_unstorable", entries=batch.size(), error=str(error))  # noqa: TRY400 - one line is enough
            if batch.size() > 1:
                for partition, part in batch.split():
                    await self._post({partition: part})
                return
            posting = await self._writer.post(batch.rejecting(str(error)))
        self._cursors |= batch.ends()
        committed_at = self._now()
        metrics.BATCH_SECONDS.observe(committed_at - started_at)
        metrics.count_batch(batch.size(), posting)
        with tracing.part("publish"):
            await self._publish(posting, batch.ends())
        metrics.PUBLISH_SECONDS.observe(self._now() - committed_at)

    # ---- partitions

    async def _keep_partitions(self) -> None:
        """Keep, take and give up leases, and look at the memory, which anybody may have emptied in passing."""
        owned = await self._database.run(None, self._renew_leases)
        if any(self._stream.is_away(partition) for partition in owned):
            await self._stream.reopen()  # perhaps it is back, or somebody is in its place
            owned = {partition for partition in owned if not self._stream.is_away(partition)}
        for partition in self._cursors.keys() - owned:
            del self._cursors[partition]
        servers = await self._stream.identify(owned)
        memories = await self._stream.inspect(owned)
        known = {p for p, cursor in self._cursors.items() if verdict(cursor, memories[p], servers[p]) is Verdict.SAME}
        if taken := owned - known:
            await self._take(taken, memories, servers)

    async def _take(
        self, partitions: set[int], memories: dict[int, PartitionMemory], servers: dict[int, ServerIdentity]
    ) -> None:
        """Begin with partitions that are newly ours or whose memory is another, and publish what is left over."""

        async def read(tx: Transaction) -> dict[int, Cursor | None]:
            return await store.fence(tx, partitions, self._owner)

        cursors = await self._database.run(None, read)
        verdicts = {p: verdict(cursors[p], memories[p], servers[p]) for p in partitions}
        ids = {p: servers[p].replication_id for p in partitions}
        begun = await self._begin({p: ids[p] for p in partitions if verdicts[p] is Verdict.BEGIN})
        await self._stream.adopt({p: ids[p] for p in partitions if verdicts[p] is Verdict.ADOPT})
        kept = {p: cursor for p, cursor in cursors.items() if p not in begun and cursor is not None}
        for partition, cursor in kept.items():
            await self._publish_again(partition, memories[partition], cursor)
        self._cursors |= kept | begun
        log.info("partitions_taken", taken=len(partitions), begun=len(begun))

    async def _begin(self, partitions: dict[int, str]) -> dict[int, Cursor]:
        """Begin new incarnations, on the servers with these replication ids.

        The memory is named last: until then a crash makes the successor begin again.
        """
        if not partitions:
            return {}
        cursors = await self._writer.begin({partition: uuid4() for partition in partitions})
        await self._stream.close_incarnations(partitions)
        dropped = 0
        async for count in self._stream.drop_accounts(partitions, new_token()):
            dropped += count
            if self._renewal_is_due():  # a large memory takes longer to look through than a lease lasts
                self._renewed_at = self._now()
                await self._database.run(None, self._extend_leases)
        await self._database.run(None, partial(store.fence, partitions=partitions, owner=self._owner))
        incarnations = {p: (cursor.incarnation, partitions[p]) for p, cursor in cursors.items()}
        await self._stream.begin_incarnations(incarnations)
        log.info("incarnations_begun", partitions=len(partitions), accounts_dropped=dropped)
        return cursors

    async def _publish_again(self, partition: int, memory: PartitionMemory, cursor: Cursor) -> None:
        """What a predecessor committed and did not publish: the accounts named between the two cursors."""
        after = memory.published
        while after < cursor.last_id:
            raw = await self._stream.read_between(partition, after, cursor.last_id, BATCH_ENTRIES)
            if not raw:
                break
            entries = [parse_entry(stream_id, fields) for stream_id, fields in raw]
            await self._publish_refs({entry.ref for entry in entries}, {partition: _shown(cursor)})
            after = entries[-1].stream_id
        await self._note_published({partition: cursor})

    async def _publish_refs(self, refs: Iterable[bytes], cursors: Cursors) -> None:
        customers = list(customers_of(refs))

        async def read(tx: Transaction) -> list[tuple[UUID, UUID]]:
            return await store.list_account_ids(tx, customers)

        accounts = await self._database.run(None, read)
        await publish_accounts(self._database, self._stream, None, accounts, cursors)

    # ---- publishing

    async def _publish(self, posting: Posting, ends: dict[int, Cursor]) -> None:
        states = [
            AccountState(
                ref,
                account.revision,
                account.total_micro,
                account.applied_micro,
                account.next_boundary(),
                account.begun_at(),
                account.snapshot_id,
                account.subscription_status,
                beside=account.beside(),
            )
            for ref, account in posting.accounts.items()
        ]
        with suppress(RedisUnavailable):  # an offer: edges that do not find them ask core
            await self._stream.offer_plans(posting.snapshots)
        await self._stream.publish(states, {p: _shown(end) for p, end in ends.items()}, new_token())
        await self._note_published(ends)
        unfinished = [ref for ref, account in posting.accounts.items() if account.id in posting.unfinished]
        if unfinished:  # so that nobody waits for the next look of jobs
            await self._stream.tick(unfinished, to_at(self._clock.now()))

    async def _note_published(self, ends: dict[int, Cursor]) -> None:
        cursors = {partition: (end.incarnation, end.last_id) for partition, end in ends.items()}
        lag_milliseconds = self._keeping.trim_lag_seconds * 1_000
        await self._stream.note_published(cursors, lag_milliseconds, self._keeping.stream_max_entries // 2)


def _shown(cursor: Cursor) -> tuple[UUID, str]:
    return cursor.incarnation, show_stream_id(cursor.last_id)
