"""The product without its processes: the models of the scripts, the real `post_batch`, rows, and one clock.

The scripts' models agree with the scripts (tests/wire); the rows stand for Postgres. What the reference cannot know,
ticks and what reaches the edge, it is told as it happens.
"""

from collections import Counter
from itertools import pairwise
from uuid import UUID

from app.rules.burndown import Block
from app.wire.events import StreamEntry, UsagePayload, encode_usage, parse_entry, show_stream_id
from app.wire.ids import derived_id
from app.wire.orders import Order, encode_order
from tests.ledger_model.one_by_one import Flusher
from tests.ledger_model.reference import Answer, Reference
from tests.ledger_model.rows import SNAPSHOT, Rows, ref_of
from tests.wire import script_models as scripts
from tests.wire.script_models import NOTHING_YET, Accept, Load, Memory, Publish

INCARNATION = "1"
PRICE_ID = UUID(int=1)
ATTEMPTS = 3
Logged = StreamEntry | tuple[str, str, Block, str]
"""An entry, or what `Rows.grant` was called with."""


def event_id(who: str, key: str) -> UUID:
    """The id of usage under a key."""
    return derived_id(b"usage", who.encode(), key.encode())


def block_id(name: str) -> UUID:
    """The id of a grant's block."""
    return derived_id(b"block", name.encode())


def order_id(name: str) -> UUID:
    """The id of an order."""
    return derived_id(b"order", name.encode())


class Parts:
    """One partition. `reference` hears of ticks and of what the edge learns; `reached` counts the rules of flushing."""

    def __init__(self, names: list[str], flusher: Flusher, reference: Reference, reached: Counter[str]) -> None:
        self.now = 1
        self.is_up = True
        """Whether the flusher runs."""
        self.rows, self.memory = Rows(), Memory(meta={"incarnation": INCARNATION})
        self.log: list[Logged] = []
        """Grants and entries in the order in which they came."""
        self._flusher, self._reference, self._reached = flusher, reference, reached
        self._cursor = NOTHING_YET
        self._unpublished: set[bytes] = set()
        for who in names:
            self.rows.open(who)
            ref = ref_of(who)
            scripts.load_begin(self.memory, ref, b"token")
            scripts.load(self.memory, Load(self.rows.state(ref), b"token", INCARNATION))

    # ---- core

    def grant(self, who: str, name: str, block: Block, source: str) -> None:
        """Credit is committed; what follows is `publish`, unless core dies in between."""
        self.rows.grant(who, name, block, source)
        self.log.append((who, name, block, source))

    def next_revision(self, who: str) -> int:
        """The revision to which core's next change raises the account."""
        return self.rows.accounts[ref_of(who)].revision + 1

    def publish(self, who: str) -> None:
        """The ledger's figures reach the edge, with the word of how far the stream is posted only from the flusher."""
        self._publish(ref_of(who), "")

    def order(self, who: str, order: Order) -> None:
        """Core leaves an order; the flusher, where it runs, carries it out at once."""
        assert scripts.order(self.memory, ref_of(who), self.now, encode_order(order)) == b"ok"
        self._note_appended()

    def is_waiting(self, event: UUID) -> bool:
        """Whether an event is accepted and not posted."""
        return any(entry.payload is not None and entry.payload.event_id == event for entry in self.waiting)

    # ---- the edge

    def use(self, who: str, key: str, feature: str, cost: int, *, enforce: bool) -> Answer | None:
        """What the edge answers to usage; None where it is unavailable."""
        usage_id = event_id(who, key)
        payload = encode_usage(UsagePayload(usage_id, feature, max(1, cost), PRICE_ID, None, key, None))
        for _ in range(ATTEMPTS):
            before = self.memory.newest_id
            call = Accept(ref_of(who), usage_id, self.now, SNAPSHOT, cost, payload, enforce=enforce)
            kind, *rest = scripts.accept(self.memory, call)
            if kind != b"wait":
                if self.memory.newest_id != before:
                    self.log.append(self._newest())
                return _read_answer(kind, rest[0])
            self._reached["edge waits at a boundary"] += 1
            if self.memory.newest_id != before:
                self._note_appended(who)
            if not self.is_up:
                self._reached["unavailable while the flusher is stopped"] += 1
                return None
            self.flush(1_000)
        raise AssertionError("the edge waits for ever")

    def sweep(self, who: str) -> None:
        """Jobs look whether a tick is due."""
        before = self.memory.newest_id
        scripts.tick(self.memory, ref_of(who), self.now)
        if self.memory.newest_id != before:
            self._reached["tick by jobs"] += 1
            self._note_appended(who)

    def forget(self, who: str, key: str) -> None:
        """The window of an idempotency key is over."""
        self.memory.seen.pop(event_id(who, key), None)

    # ---- the flusher

    @property
    def waiting(self) -> list[StreamEntry]:
        """Entries that are not posted."""
        return [_parse(*entry) for entry in self.memory.stream if entry[0] > self._cursor]

    def flush(self, size: int, most: int = 1_000, *, publishes: bool = True) -> None:
        """A turn of the flusher: what waits, at most so many, in batches; it may die before it publishes."""
        if not self.is_up:
            return
        self.memory.stream = [entry for entry in self.memory.stream if entry[0] > self._cursor]
        entries = self.waiting[:most]
        batches = list[set[bytes]]()
        for batch in self._flusher(self.rows, entries, size):
            self._cursor = batch[-1].stream_id
            batches.append({entry.ref for entry in batch})
            self._unpublished |= batches[-1]
            if publishes:
                self._publish_all()
        self._count_cuts(batches)
        if publishes:
            self._publish_all()
        elif entries:
            self._reached["flusher dies between commit and publish"] += 1

    def _count_cuts(self, batches: list[set[bytes]]) -> None:
        cut = any(earlier & later for earlier, later in pairwise(batches))
        self._reached["batches cut between two entries of one customer"] += cut
        self._reached["one batch of several customers"] += any(len(batch) > 1 for batch in batches)

    def _publish_all(self) -> None:
        while self._unpublished:
            self._publish(self._unpublished.pop(), INCARNATION)

    def _publish(self, ref: bytes, incarnation: str) -> None:
        state = self.rows.state(ref)
        scripts.publish(self.memory, Publish(state, incarnation, self._cursor, b"token"))
        self._reference.learn(self.rows.accounts[ref].end_user_id, self._doubled(ref))

    def _doubled(self, ref: bytes) -> int:
        known, doubled = {*self.rows.events}, 0
        for entry in self.waiting:
            if entry.ref == ref and entry.payload is not None:
                doubled += entry.cost_micro if entry.payload.event_id in known else 0
                known.add(entry.payload.event_id)
        return doubled

    # ---- the stream

    def _newest(self) -> StreamEntry:
        return _parse(*self.memory.stream[-1])

    def _note_appended(self, ticked: str | None = None) -> None:
        self.log.append(self._newest())
        if ticked is not None:
            self._reference.tick(ticked, self._newest().accepted_at)


def _parse(stream_id: scripts.StreamId, fields: scripts.Fields) -> StreamEntry:
    entry = parse_entry(show_stream_id(stream_id).encode(), fields)
    assert isinstance(entry, StreamEntry)
    return entry


def _read_answer(kind: bytes, content: bytes) -> Answer:
    """The outcome as `accept.lua` writes it, new or remembered."""
    assert kind in {b"ok", b"seen"}
    text = (content if kind == b"ok" else content[1 + content[0] :]).decode()
    figures = [int(number) for number in text[1:].split(":")]
    return Answer(text[0] == "+", figures[0], figures[1], figures[2] if text[0] == "+" else 0)
