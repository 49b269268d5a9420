"""Everything that touches one partition, and what must hold at every step.

Time counts in single microseconds, so that every boundary is met. Checked while nothing was lost, and again from the
moment at which a new incarnation has begun: no decision spends more than is there, where that is the ledger after every
entry of the stream; enforced usage leaves no debt, and stays within the limit of the period that it is accepted in;
accepted - applied is what the stream still holds.
"""

from dataclasses import replace
from functools import cache
from random import Random
from uuid import UUID

from app.rules import totals
from app.rules.burndown import Block
from app.rules.moments import NEVER_AT
from app.wire import keys
from app.wire.events import EntryKind, StreamEntry, UnreadableEntry, UsagePayload, encode_usage
from app.wire.orders import Order, encode_order
from tests.protocol.ledger_side import ENVIRONMENT, TURN_AT, Ledger
from tests.protocol.processes import Flusher, ProcessEnded, Steps
from tests.protocol.redis_side import Server, published_of
from tests.protocol.violation import check
from tests.wire.script_models import NOTHING_YET, Accept, Publish

REFS = tuple(keys.account_ref(keys.environment_ref(ENVIRONMENT), name) for name in "abcd")
EARLY = 2
"""Accounts that are there from the start; the others core makes while everything is running."""
PRICE_ID = UUID(int=1)
PRICES = {"s1": 1, "s2": 2}
"""Micro-credits per unit, by plan snapshot, until the price changes."""
DEARER = 3
"""By this every price is multiplied from then on."""
STARTS = (0, 0, totals.MODULUS - 700, 3 * totals.MODULUS - 50)
"""What was applied before: some totals are about to wrap."""
FEATURE, LIMIT = "f", 400
"""Units of the feature in a period: enforced usage goes no further."""
AHEAD = 3
"""By how much some clocks, of edges or core, are ahead of the others; every grant outlives it."""
LOST_IN_FLIGHT, DAMAGED = 0.1, 0.02
"""How often a publish is not answered, and, where there are faults, an entry is unreadable."""


@cache
def name_of(ref: bytes) -> str:
    """The end user's id."""
    return keys.parse_account_ref(ref)[1]


class World:
    """Both stores and all processes. `without` names the rules that are switched off; `trace` says what happened."""

    def __init__(self, seed: int, *, faults: bool, without: frozenset[str]) -> None:
        self.random = Random(seed)
        self.faults, self.without = faults, without
        self.trace: list[str] = []
        self.now, self._count = 0, 0
        self.dearer_at = 15 + seed % 60
        """When all prices change; every snapshot has known it from the beginning."""
        self.server, self.ledger = Server(without), Ledger(without)
        self.reference = Ledger()
        """The ledger of a flusher without lag."""
        self.standby: Ledger | None = None
        """The copy that a standby of Postgres holds."""
        self.whole = True
        """Nothing was lost, or the accounts have been loaded anew since."""
        self.repeats = False
        """The ledger went back and gives revisions anew that the edge had seen of other blocks: no draw is certain."""
        self.tasks: list[tuple[str, Steps]] = []
        self.flushers: dict[str, Flusher] = {}
        self.flying: list[tuple[Publish, int]] = []
        """Publishes that nobody waits for any more, and the epoch of the server that they were sent to."""
        self.asked: dict[UUID, tuple[bytes, int]] = {}
        """Every event that was ever sent: account and units."""
        self.acknowledged: set[UUID] = set()
        """Events that were taken in; none of them may be lost."""
        self.ordered: dict[UUID, tuple[bytes, Order]] = {}
        """Every order that was ever given."""
        self.taken_orders: set[UUID] = set()
        """Orders that stand in the stream; none of them may be lost."""
        self.damaged: set[UUID] = set()
        """Events whose entry is unreadable: they are rejected."""
        self.cost_lost: set[bytes] = set()
        """Accounts with an entry of which even the cost is unreadable: they heal when they are quiet."""
        self._believed = dict.fromkeys(REFS, "s1")
        for ref in REFS[:EARLY]:
            self.open(ref, self.random.choice(STARTS))
            self.grant(ref, 500, self.random.randint(20, 200))
            self.grant(ref, 500, NEVER_AT)

    # ---- the edge

    def use(self, ref: bytes, event: UUID, units: int, *, enforce: bool) -> bytes:
        """One usage request, asked again at once where the price was another; the kind of its answer."""
        self.asked[event] = (ref, units)
        now_at = self._clock()
        payload = encode_usage(UsagePayload(event, FEATURE, units, PRICE_ID, None, None, None))
        before, cost = self.server.memory.newest_id, 0
        answer = [b"snapshot", self._believed[ref].encode()]
        while answer[0] in {b"snapshot", b"reprice"}:
            if answer[0] == b"snapshot":
                self._believed[ref] = answer[1].decode()
            else:
                now_at = int(answer[1])
            snapshot = self._believed[ref]
            cost = units * self.price(snapshot, now_at)
            until_at = self.dearer_at if now_at < self.dearer_at and "reprice" not in self.without else NEVER_AT
            call = Accept(ref, event, now_at, snapshot, cost, payload, enforce=enforce, until_at=until_at)
            call = replace(call, counted=True, feature_key=FEATURE, units_micro=units, limit=LIMIT)
            answer = self.server.accept(call)
        self.say(f"use {name_of(ref)} {event.hex[-4:]} at {now_at}: {cost} {enforce=} -> {answer}")
        if self.server.memory.newest_id != before:
            self._appended(ref, event, enforce=enforce)
        if answer[0] == b"ok" and answer[1].startswith(b"+") and event not in self.damaged:
            self.acknowledged.add(event)
        return answer[0]

    def price(self, snapshot: str, at: int) -> int:
        """Micro-credits per unit at a moment."""
        return PRICES[snapshot] * (DEARER if at >= self.dearer_at else 1)

    def tick(self, ref: bytes) -> None:
        """The sweep that ticks accounts which nobody touches."""
        before = self.server.memory.newest_id
        self.say(f"tick {name_of(ref)} -> {self.server.tick(ref, self._clock())}")
        if self.server.memory.newest_id != before:
            self._appended(ref, None, enforce=False)

    def order(self, ref: bytes, order: Order) -> None:
        """Core gives an order, or gives it again because no answer came."""
        self.ordered[order.order_id] = ref, order
        answer = self.server.order(ref, self._clock(), encode_order(order))
        self.say(f"order {name_of(ref)} {order} -> {answer}")
        if answer == b"ok":
            self.taken_orders.add(order.order_id)
            self._appended(ref, None, enforce=False)

    def _appended(self, ref: bytes, event: UUID | None, *, enforce: bool) -> None:
        """An entry was appended: the ledger without lag has it at once."""
        if self.faults and self.random.random() < DAMAGED:
            self._damage(ref, event)
        entry = self.server.newest_entry()
        if isinstance(entry, StreamEntry) and entry.payload is not None:
            price = self.price(self.server.memory.accounts[ref].snapshot, entry.accepted_at)
            check(entry.cost_micro == entry.payload.units_micro * price, "price of another moment", entry, price)
            started_at = TURN_AT if entry.accepted_at >= TURN_AT else 0
            check(entry.period_at == started_at, "counted in another period", entry, started_at)
        if isinstance(entry, UnreadableEntry) or not self.whole:
            self.reference.post([entry])
            return
        enforce = enforce and entry.kind is EntryKind.USAGE
        really, known = self.reference.spendable(ref, entry.accepted_at), len(self.reference.events)
        check(not enforce or entry.cost_micro <= really, "overspend", name_of(ref), entry.cost_micro, really)
        if enforce and entry.payload is not None and entry.period_at is not None:
            used = self.reference.counted(ref, FEATURE, entry.period_at) + entry.payload.units_micro
            check(used <= LIMIT, "beyond the limit", name_of(ref), used)
        self.reference.post([entry])
        if event and enforce and len(self.reference.events) > known:
            debt = self.reference.events[event].debt_micro
            check(debt == 0, "enforced usage leaves a debt", name_of(ref), debt)
        self._check_pending(ref)

    def _check_pending(self, ref: bytes) -> None:
        """Invariant 34, where the edge has the ledger's newest figures."""
        account, cursor = self.server.memory.accounts[ref], self.ledger.cursor
        is_newest = account.revision == self.ledger.accounts[ref].revision
        if not is_newest or ref in self.cost_lost or not cursor or self.server.incarnation != cursor.incarnation:
            return
        waiting = sum(entry.cost_micro for entry in self.server.read(cursor.last_id) if entry.ref == ref)
        pending = totals.distance(account.accepted, account.applied)
        check(pending == waiting, "accepted is not what waits", name_of(ref), pending, waiting)

    def _damage(self, ref: bytes, event: UUID | None) -> None:
        """By some defect the newest entry is unreadable; the ledger rejects it, and everything goes on."""
        stream_id, fields = self.server.memory.stream.pop()
        loses_cost = self.random.random() < 0.5
        self.server.memory.stream.append(
            (stream_id, {**fields, b"k": b"?", b"c": b"?" if loses_cost else fields[b"c"]})
        )
        self.say(f"damage {stream_id} {loses_cost=}")
        if event:
            self.damaged.add(event)
        self.taken_orders &= self._orders_in_stream() | self.ledger.outcomes.keys()
        if loses_cost:
            self.cost_lost.add(ref)

    # ---- core

    def open(self, ref: bytes, applied: int = 0) -> None:
        """Commit a new account."""
        account_id = self.new_id()
        for ledger in (self.ledger, self.reference):
            ledger.open(ref, account_id, applied)

    def grant(self, ref: bytes, amount: int, expires_at: int) -> None:
        """Commit a grant."""
        revision = self.ledger.accounts[ref].revision + 1
        priority, paid = self.random.choice([100, 100, 50]), self.random.random() < 0.5
        now_at = self._clock()
        block = Block(self.new_id(), amount, priority, paid, revision, now_at, expires_at, now_at)
        for ledger in (self.ledger, self.reference):
            ledger.grant(ref, block)
        self.ledger.change(ref)
        self.say(f"grant {name_of(ref)} {amount} until {expires_at}, revision {revision}")

    # ---- processes

    def new_id(self) -> UUID:
        """An id that nothing else has."""
        self._count += 1
        return UUID(int=self._count)

    def new_token(self) -> bytes:
        """A load token that no other load has."""
        return self.new_id().bytes

    def _clock(self) -> int:
        """The time on the clock of one process or another."""
        return self.now + self.random.choice([0, 0, 0, AHEAD])

    def say(self, what: str) -> None:
        """Add to the trace."""
        self.trace.append(f"{self.now:4} {what}")

    def start(self, name: str, task: Steps) -> None:
        """A process begins."""
        self.tasks.append((name, task))

    def start_flusher(self) -> Flusher:
        """A flusher that takes the lease from whoever has it."""
        self._count += 1
        name, flusher = f"flusher {self._count}", Flusher(self, self._count)
        self.flushers[name] = flusher
        self.start(name, flusher.run())
        return flusher

    def only_owner(self) -> Flusher:
        """Every process dies but the flusher that has the lease; where that one is dead already, another starts."""
        owner = f"flusher {self.ledger.owner}"
        self.tasks = [(name, task) for name, task in self.tasks if name == owner]
        return self.flushers[owner] if self.tasks else self.start_flusher()

    def advance(self, number: int, steps: int) -> None:
        """One process goes some steps."""
        name, task = self.tasks[number]
        try:
            for _ in range(steps):
                next(task)
        except (StopIteration, ProcessEnded) as end:
            self.say(f"{name}: {type(end).__name__}")
            del self.tasks[number]
        else:
            self.say(f"{name}: {steps} steps; cursor {self.ledger.cursor and self.ledger.cursor.last_id}")

    def end(self, number: int) -> None:
        """One process dies where it is."""
        name, _ = self.tasks.pop(number)
        self.say(f"{name} dies")

    def is_lost_in_flight(self, call: Publish) -> bool:
        """Whether a publish is not answered; it may arrive all the same, at any time."""
        if self.random.random() >= LOST_IN_FLIGHT:
            return False
        self.flying.append((call, self.server.epoch))
        return True

    def deliver(self) -> None:
        """A publish that nobody waits for arrives, if its server is still there."""
        call, epoch = self.flying.pop(self.random.randrange(len(self.flying)))
        if epoch == self.server.epoch:
            answer = self.server.publish(call)
            self.say(f"late publish {name_of(call.state.ref)} revision {call.state.revision} -> {answer}")

    # ---- losses

    def lose(self) -> None:
        """A store went back: what is in neither any more may be gone."""
        self.whole = False
        entries = [entry for entry in self.server.read(NOTHING_YET) if isinstance(entry, StreamEntry)]
        self.acknowledged &= {entry.payload.event_id for entry in entries if entry.payload} | self.ledger.events.keys()
        self.taken_orders &= self._orders_in_stream() | self.ledger.outcomes.keys()

    def _orders_in_stream(self) -> set[UUID]:
        entries = [entry for entry in self.server.read(NOTHING_YET) if isinstance(entry, StreamEntry)]
        return {entry.order.order_id for entry in entries if entry.order}

    def memory_is_whole(self) -> None:
        """A new incarnation has begun: from here on everything is exact again."""
        self.reference = self.ledger.copy(frozenset())
        self.whole = not self.repeats
        self.cost_lost.clear()
        for entry in self.server.read(NOTHING_YET):
            self.reference.post([entry])

    def sees_lost_tail(self) -> bool:
        """Whether an older copy of Redis gives itself away: the ledger has posted more than it published."""
        cursor, replica = self.ledger.cursor, self.server.replica
        return bool(cursor and replica and published_of(replica[0]) < cursor.last_id)

    def back_up(self) -> None:
        """A standby of Postgres has caught up to here."""
        self.standby = self.ledger.copy(self.without)

    def can_fall_back(self) -> bool:
        """Whether the stream can bring the standby up to date: what it lacks is published, and was not trimmed."""
        standby = self.standby
        return (
            standby is not None
            and standby.cursor is not None
            and standby.cursor.incarnation == self.server.incarnation
            and self.server.trimmed_to <= standby.cursor.last_id < self.server.inspect().published
            and standby.accounts.keys() == self.ledger.accounts.keys()
        )

    def fall_back(self) -> None:
        """The standby takes over; whoever was connected to the ledger is gone."""
        assert self.standby is not None
        self.tasks.clear()
        self.flying.clear()
        self.ledger, self.standby = self.standby, None
        self.repeats = True
        self.lose()
