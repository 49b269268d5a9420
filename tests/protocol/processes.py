"""Flusher, core and loader, each as a generator: at every `yield` anything else may happen, and it may die there.

They follow the order of steps of `app/flusher/loop.py` and `app/entitlements`. A flusher has one connection, so it ends
where another server answers than at its start. Core's clients connect anew: its steps may fall upon two servers.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import structs

from app.flusher.memory import Cursor, Verdict, verdict
from app.io.stream import PartitionMemory
from app.wire.events import parse_stream_id
from app.wire.snapshot import AccountState
from tests.protocol.redis_side import NEVER_PROMOTED, Server, entry_refs
from tests.wire.script_models import NOTHING_YET, Load, Publish, StreamId

if TYPE_CHECKING:
    from tests.protocol.ledger_side import Entry
    from tests.protocol.world import World

Steps = Generator[None]
Kept = Generator[None, None, Cursor]
MOST_POLLS = 12
"""How often a load looks whether the stream has drained."""
KEPT_ENTRIES = 8
"""The trim's lag: published entries that stay in the stream."""


class ProcessEnded(Exception):
    """The process goes no further: its connection broke, or its lease is another's."""


class Flusher:
    """One owner of the partition, from its start to its end."""

    def __init__(self, world: "World", number: int) -> None:
        self._world, self._ledger, self._number = world, world.ledger, number
        self._epoch = world.server.epoch
        self.waiting = False
        """There was nothing to read, nothing to publish."""

    def run(self) -> Steps:
        """Take the lease and look at the memory; then flush, and look again now and then."""
        self._ledger.owner = self._number
        yield
        memory = self._redis().inspect()
        cursor, decision = self._decide(memory)
        yield
        if cursor is None or decision is Verdict.BEGIN:
            cursor = yield from self._begin()
        else:
            if decision is Verdict.ADOPT:
                self._redis().memory.meta["replication_id"] = self._redis().identity.replication_id
            yield from self._publish_again(memory.published, cursor)
        while True:
            if "look" not in self._world.without and self._decide(self._redis().inspect())[1] is not Verdict.SAME:
                raise ProcessEnded
            yield from self._publish_left_over()
            cursor = yield from self._turn(cursor)

    def _decide(self, memory: PartitionMemory) -> tuple[Cursor | None, Verdict]:
        cursor, server, without = self._ledger.cursor, self._redis().identity, self._world.without
        if "promoted" in without:
            server = structs.replace(server, promoted_from=NEVER_PROMOTED)
        if cursor and ("restored" in without and cursor.last_id < memory.published):
            memory = structs.replace(memory, published=cursor.last_id)
        if cursor and ("behind" in without and memory.published < cursor.last_id):
            memory = structs.replace(memory, published=cursor.last_id)
        decision = verdict(cursor, memory, server)
        if cursor and "incarnation" in without and memory.incarnation == cursor.incarnation:
            decision = Verdict.ADOPT if decision is Verdict.BEGIN else decision
        return cursor, decision

    def _redis(self) -> Server:
        if self._world.server.epoch != self._epoch:
            raise ProcessEnded
        return self._world.server

    def _fence(self, cursor: Cursor | None) -> None:
        """The lease is ours and, where the caller read from one, the cursor has not moved."""
        if "cursor" not in self._world.without and (
            self._ledger.owner != self._number or cursor not in (None, self._ledger.cursor)
        ):
            raise ProcessEnded

    def _begin(self) -> Kept:
        """Begin a new incarnation; its name comes last, so that a crash on the way makes the successor begin again."""
        self._fence(None)
        cursor = self._ledger.cursor = Cursor(self._world.new_id(), NOTHING_YET)
        yield
        self._redis().memory.meta.pop("incarnation", None)
        yield
        for ref in list(self._ledger.accounts) if "drop" not in self._world.without else []:
            self._redis().drop(ref, self._world.new_token())
            yield
        if "dropped" not in self._world.without:
            self._redis().drop_reservations()
        identity = self._redis().identity
        self._redis().memory.meta = {"incarnation": cursor.incarnation.hex, "replication_id": identity.replication_id}
        self._world.memory_is_whole()
        return cursor

    def _publish_again(self, published: StreamId, cursor: Cursor) -> Steps:
        """What a predecessor committed and did not publish."""
        if "republish" not in self._world.without:
            refs = list(entry_refs(self._redis().read(published, cursor.last_id)))
            yield from self._publish_accounts(refs, None if "again" in self._world.without else cursor)
        self._redis().note_published(cursor.incarnation, cursor.last_id, KEPT_ENTRIES)

    def _publish_left_over(self) -> Steps:
        """What core committed and did not publish."""
        if "marks" not in self._world.without:
            yield from self._publish_accounts(list(self._ledger.marks), None)

    def _publish_accounts(self, refs: list[bytes], cursor: Cursor | None) -> Steps:
        for _ in publish_accounts(self._world, refs, cursor):
            self._redis()
            yield

    def _turn(self, cursor: Cursor) -> Kept:
        """Read a few entries, post them in one transaction, publish; the cursor after it."""
        found = self._redis().read(cursor.last_id)
        batch: list[Entry] = found[: self._world.random.randint(1, 4)]
        self.waiting = not batch and (not self._ledger.marks or "marks" in self._world.without)
        yield
        if not batch:
            return cursor
        self._fence(cursor)
        states = self._ledger.post(batch)
        end = self._ledger.cursor = Cursor(cursor.incarnation, batch[-1].stream_id)
        yield
        for state in states:
            self._redis()
            send(self._world, state, end)
            yield
        self._redis().note_published(end.incarnation, end.last_id, KEPT_ENTRIES)
        yield
        return end


def send(world: "World", state: AccountState, cursor: Cursor | None = None) -> bytes:
    """Publish; now and then the answer does not come, and the command arrives later or never."""
    incarnation, last_id = (cursor.incarnation.hex, cursor.last_id) if cursor else ("", NOTHING_YET)
    call = Publish(state, incarnation, last_id, world.new_token())
    if world.is_lost_in_flight(call):
        raise ProcessEnded
    return world.server.publish(call)


def publish_accounts(world: "World", refs: list[bytes], cursor: Cursor | None = None) -> Steps:
    """Publish accounts as they stand now, load those that are new, clear their marks. Core does so after a commit."""
    states = world.ledger.states(ref for ref in refs if ref in world.ledger.accounts)
    yield
    for state in states:
        answer = send(world, state, cursor)
        yield
        if answer == b"absent" and state.revision == 1:
            yield from load_new(world, state)
    world.ledger.clear_marks(states)


def load_new(world: "World", state: AccountState) -> Steps:
    """Load an account that was just made, where nothing has to be waited for."""
    begun = world.server.load_begin(state.ref, world.new_token())
    yield
    if begun[0] == b"begun" and "new" in world.without:
        world.server.load(Load(state, begun[1], begun[2].decode()))
    elif begun[0] == b"begun":
        yield from _finish(world, state.ref, begun, polls=1)


def load(world: "World", ref: bytes) -> Steps:
    """Load an account on demand."""
    for _ in range(MOST_POLLS):
        begun = world.server.load_begin(ref, world.new_token())
        yield
        if begun[0] == b"loaded":
            return
        if begun[0] == b"begun" and (yield from _finish(world, ref, begun, MOST_POLLS)):
            return


def _finish(world: "World", ref: bytes, begun: list[bytes], polls: int) -> Generator[None, None, bool]:
    """Wait until the stream has drained, then install; False where the load has to begin again."""
    incarnation, end = UUID(hex=begun[2].decode()), parse_stream_id(begun[3])
    for _ in range(polls):
        account, cursor = world.ledger.states([ref])[0], world.ledger.cursor
        held = world.ledger.open_reservations(ref)
        yield
        if "drain" in world.without or (cursor and cursor.incarnation == incarnation and cursor.last_id >= end):
            answer = world.server.load(Load(account, begun[1], begun[2].decode(), held))
            return answer != b"refused"
    return False
