"""Redis' side of the model: one server with one partition, its scripts as the models that agree with the real ones."""

from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

from msgspec import structs

from app.io.stream import PartitionMemory, ServerIdentity
from app.rules.moments import NEVER_AT
from app.wire.events import parse_entry, parse_stream_id, show_stream_id
from tests.protocol.ledger_side import Entry
from tests.protocol.violation import check
from tests.wire import reservation_models
from tests.wire import script_models as models
from tests.wire.reservation_models import End, Extend, Reserve
from tests.wire.script_models import (
    NOTHING_YET,
    Accept,
    EdgeAccount,
    Fields,
    Held,
    Load,
    Memory,
    NotePublished,
    Publish,
    StreamId,
)

NEVER_PROMOTED = "0" * 40
ANY_NUMBER = 1_000_000


class Server:
    """What answers at Redis' address. `epoch` changes with every other server behind it: connections break."""

    def __init__(self, without: frozenset[str]) -> None:
        self.without = without
        self.memory = Memory()
        self.identity = ServerIdentity("r0", NEVER_PROMOTED)
        self.epoch = 0
        self.replica: tuple[Memory, str] | None = None
        """The copy that a replica holds, or a disk without the newest writes, and whose copy it is."""
        self.trimmed_to = NOTHING_YET
        self._parsed: dict[StreamId, tuple[Fields, Entry]] = {}

    # ---- scripts

    def accept(self, call: Accept) -> list[bytes]:
        """accept.lua."""
        account = self.memory.accounts.get(call.ref)
        if account is not None and "clamp" in self.without:
            account.last_at = 0
        answer = models.accept(self.memory, call)
        self._check_doubles(call.ref)
        return answer

    def tick(self, ref: bytes, now_at: int) -> bytes:
        """tick.lua."""
        return models.tick(self.memory, ref, now_at)

    def order(self, ref: bytes, now_at: int, payload: bytes) -> bytes:
        """order.lua."""
        account = self.memory.accounts.get(ref)
        before = replace(account) if account and "hold" in self.without else None
        answer = models.order(self.memory, ref, now_at, payload)
        if account and before:
            account.order_id, account.valid_until, account.ticked = before.order_id, before.valid_until, before.ticked
        return answer

    def publish(self, call: Publish) -> bytes:
        """publish.lua."""
        ref = call.state.ref
        account, token = self.memory.accounts.get(ref), self.memory.tokens.get(ref)
        if account is not None and "release" in self.without:
            account.order_id = account.held_until = None
        if account is not None and "revision" in self.without:
            account.revision = 0
        if account is not None and "quiet" in self.without:
            call = replace(call, incarnation="")
        if "dated" in self.without:
            call = replace(call, state=structs.replace(call.state, posted_at=0))
        if account is not None and "period" in self.without:
            before = replace(account), {**self.memory.used.get(ref, {})}
            answer = models.publish(self.memory, call)
            self._keep_period(call, account, *before)
        else:
            answer = models.publish(self.memory, call)
        if token is not None and "absent" in self.without:
            self.memory.tokens[ref] = token
        self._check_doubles(ref)
        return answer

    def _keep_period(self, call: Publish, account: EdgeAccount, before: EdgeAccount, used: dict[str, int]) -> None:
        """As if a new period came only where nothing is under way, as other counters do."""
        is_quiet = self.memory.meta.get("incarnation") == call.incarnation and call.cursor >= account.last_id
        if not is_quiet and account.period != before.period:
            account.period, account.resets_at = before.period, before.resets_at
            self.memory.used[call.state.ref] = used

    def load_begin(self, ref: bytes, new_token: bytes) -> list[bytes]:
        """load_begin.lua."""
        return models.load_begin(self.memory, ref, new_token)

    def load(self, call: Load) -> bytes:
        """load.lua."""
        if "token" in self.without:
            self.memory.tokens[call.state.ref] = call.token
        if "back" in self.without:
            call = replace(call, reservations=())
        answer = models.load(self.memory, call)
        for one in call.reservations if answer == b"loaded" and "reloaded" in self.without else ():
            self.memory.reservations[one.key].until = NEVER_AT
        self._check_doubles(call.state.ref)
        return answer

    def reserve(self, call: Reserve) -> list[bytes]:
        """reserve.lua."""
        due = self.memory.due
        if "due first" in self.without:
            self.memory.due = {}
        if "seen" in self.without:
            self.memory.reservations.pop(call.key, None)
        answer = reservation_models.reserve(self.memory, call)
        if self.memory.due is not due:
            self.memory.due = due | self.memory.due
        self._check_doubles(call.ref)
        return answer

    def end(self, call: End) -> list[bytes]:
        """end_reservation.lua."""
        held, account = self.memory.reservations.get(call.key), self.memory.accounts.get(call.ref)
        before = replace(account) if account and "kept" in self.without else None
        if held is not None:
            self._forget_how_it_stands(held)
        if account is not None and "ordered" in self.without:
            account.ordered_id = None
        answer = reservation_models.end(self.memory, call)
        if account and before:
            account.returned_id, account.returned_until = before.returned_id, before.returned_until
            account.valid_until = before.valid_until
        self._check_doubles(call.ref)
        return answer

    def _forget_how_it_stands(self, held: Held) -> None:
        if "deferred" in self.without:
            held.until = NEVER_AT if held.state == "open" else held.until
        if "first end" in self.without and held.state in reservation_models.ENDS:
            held.state = "open"
        if "late once" in self.without:
            held.late = held.late_asked = None
        if "due" in self.without and held.state == "open":
            held.due = NEVER_AT

    def extend(self, call: Extend) -> list[bytes]:
        """extend_reservation.lua."""
        return reservation_models.extend(self.memory, call)

    def restore(self, key: UUID, ended: Held) -> None:
        """restore_reservation.lua."""
        self.memory.reservations.setdefault(key, ended)

    def _check_doubles(self, ref: bytes) -> None:
        """Lua keeps numbers as doubles: no script may meet one that a double does not hold exactly."""
        if account := self.memory.accounts.get(ref):
            check(max(account.accepted, account.applied) <= NEVER_AT, "beyond a double", account)

    # ---- what is done without a script

    def drop(self, ref: bytes, new_token: bytes) -> None:
        """Forget an account; a load of it that is under way begins again."""
        self.memory.accounts.pop(ref, None)
        if ref in self.memory.tokens:
            self.memory.tokens[ref] = new_token

    @property
    def incarnation(self) -> UUID | None:
        """Of the partition; None where there is none, or none any more."""
        incarnation = self.memory.meta.get("incarnation")
        return None if incarnation is None else UUID(hex=incarnation)

    @property
    def is_adopted(self) -> bool:
        """Whether a flusher has looked at this server."""
        return self.memory.meta.get("replication_id") == self.identity.replication_id

    def inspect(self) -> PartitionMemory:
        """What the partition's meta says."""
        meta = self.memory.meta
        return PartitionMemory(
            self.incarnation,
            meta.get("replication_id", ""),
            published_of(self.memory),
        )

    def drop_reservations(self) -> None:
        """Forget what is open. What has ended stays remembered."""
        for key in self.memory.due:
            self.memory.reservations.pop(key, None)
        self.memory.due.clear()

    def reject(self, ref: bytes, now_at: int, payload: bytes) -> None:
        """An edge leaves an entry about what it spooled and cannot take in; no account is asked."""
        memory = self.memory
        memory.newest_id = (memory.newest_id[0], memory.newest_id[1] + 1)
        fields = {b"a": ref, b"k": b"j", b"t": b"%d" % now_at, b"r": b"0", b"c": b"0", b"p": payload}
        memory.stream.append((memory.newest_id, fields))

    def read(self, after: StreamId, until: StreamId = (NEVER_AT, 0)) -> list[Entry]:
        """Entries after one id, up to and with another."""
        found: list[Entry] = []
        for stream_id, fields in reversed(self.memory.stream):
            if stream_id <= after:
                break
            if stream_id <= until:
                found.append(self._parse(stream_id, fields))
        found.reverse()
        return found

    def newest_entry(self) -> Entry:
        """The entry that was appended last."""
        return self._parse(*self.memory.stream[-1])

    def _parse(self, stream_id: StreamId, fields: Fields) -> Entry:
        """What an entry says. The same one is read often; another of its id is another server's."""
        known = self._parsed.get(stream_id)
        if known is None or known[0] is not fields:
            known = self._parsed[stream_id] = fields, parse_entry(show_stream_id(stream_id).encode(), fields)
        return known[1]

    def note_published(self, incarnation: UUID, cursor: StreamId, kept: int) -> None:
        """note_published.lua; of what is published, the last `kept` entries stay."""
        before = self.memory.stream
        models.note_published(
            self.memory, NotePublished(incarnation.hex, cursor, (cursor[0], cursor[1] - kept), ANY_NUMBER)
        )
        if len(self.memory.stream) < len(before):
            self.trimmed_to = before[len(before) - len(self.memory.stream) - 1][0]

    # ---- faults

    def restart(self) -> None:
        """The same memory on a server that was started again with its log."""
        self._replace(self.memory, NEVER_PROMOTED)

    def wipe(self, newest_id: StreamId) -> None:
        """Everything is lost; ids go on from the server's clock, which may have gone back."""
        self._replace(Memory(newest_id=newest_id), NEVER_PROMOTED)

    def empty(self) -> None:
        """Somebody deletes every key of the running server."""
        self.memory = Memory(newest_id=self.memory.newest_id)

    def replicate(self) -> None:
        """A replica has caught up to here."""
        self.replica = self.memory.copy(), self.identity.replication_id

    def lose_tail(self) -> None:
        """The server starts again from its disk, which lacks the newest writes."""
        assert self.replica is not None
        self._replace(self.replica[0], NEVER_PROMOTED)

    def fail_over(self) -> None:
        """The replica takes over with what it has."""
        assert self.replica is not None
        memory, followed = self.replica
        self._replace(memory, followed)

    def _replace(self, memory: Memory, promoted_from: str) -> None:
        self.epoch += 1
        self.memory, self.replica = memory, None
        self.identity = ServerIdentity(f"r{self.epoch}", promoted_from)


def published_of(memory: Memory) -> StreamId:
    """The cursor of the last publish, as meta has it."""
    return parse_stream_id(memory.meta.get("published", "0-0").encode())


def entry_refs(entries: list[Entry]) -> Iterator[bytes]:
    """Accounts named by entries, each once, in order."""
    yield from dict.fromkeys(entry.ref for entry in entries)
