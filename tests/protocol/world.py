"""Everything that touches one partition. Time counts in single microseconds, so that every boundary is met."""

from functools import cache
from random import Random
from typing import TYPE_CHECKING
from uuid import UUID

from app.rules import totals
from app.rules.burndown import Block
from app.rules.moments import NEVER_AT
from app.wire import keys
from app.wire.events import StreamEntry
from tests.protocol.bookings import Booking, forget_lost, forget_overtaken
from tests.protocol.ledger_side import ENVIRONMENT, Ledger
from tests.protocol.processes import Flusher, ProcessEnded, Steps
from tests.protocol.redis_side import Server, published_of
from tests.wire.script_models import NOTHING_YET, Publish, StreamId

if TYPE_CHECKING:
    from app.wire.orders import Order
    from tests.protocol.spool import Edge, SpoolFile

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
ODD_FEATURE, ITS_PLAN = "x", "s2"
"""What is used of it can be taken in only while the customer has this plan. Its units are not counted."""
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
        self.events: list[UUID] = []
        self.odd: set[UUID] = set()
        """Those of the feature that not every plan has."""
        self.reused: set[UUID] = set()
        """Those under whose key something else was asked before."""
        self.acknowledged: set[UUID] = set()
        """Events that were taken in or spooled; none of them may be lost."""
        self.appeared: set[UUID] = set()
        """Events that were appended once, whatever became of them."""
        self.bookings: dict[UUID, Booking] = {}
        """Every reservation that was ever asked for, as those know it who asked."""
        self.ended: set[UUID] = set()
        """Reservations whose end stands in the stream, or stood there."""
        self.disk: list[SpoolFile] = []
        """What edges have spooled; of one that died another takes it over."""
        self.edges: list[Edge] = []
        self.ordered: dict[UUID, tuple[bytes, Order]] = {}
        """Every order that was ever given."""
        self.taken_orders: set[UUID] = set()
        """Orders that stand in the stream; none of them may be lost."""
        self.damaged: set[UUID] = set()
        """Events whose entry is unreadable: they are rejected."""
        self.cost_lost: set[bytes] = set()
        """Accounts with an entry of which even the cost is unreadable: they heal when they are quiet."""
        self.believed = dict.fromkeys(REFS, "s1")
        """The plan that edges think accounts have."""
        for ref in REFS[:EARLY]:
            self.open(ref, self.random.choice(STARTS))
            self.grant(ref, 500, self.random.randint(20, 200))
            self.grant(ref, 500, NEVER_AT)

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
        now_at = self.clock()
        block = Block(self.new_id(), amount, priority, paid, revision, now_at, expires_at, now_at)
        for ledger in (self.ledger, self.reference):
            ledger.grant(ref, block)
        self.ledger.change(ref)
        self.say(f"grant {name_of(ref)} {amount} until {expires_at}, revision {revision}")

    # ---- processes

    def price(self, snapshot: str, at: int) -> int:
        """Micro-credits per unit at a moment."""
        return PRICES[snapshot] * (DEARER if at >= self.dearer_at else 1)

    def new_id(self) -> UUID:
        """An id that nothing else has."""
        self._count += 1
        return UUID(int=self._count)

    def ask(self, event: UUID, ref: bytes, units: int) -> None:
        """Usage that somebody will send."""
        self.asked[event] = ref, units
        self.events.append(event)

    def new_token(self) -> bytes:
        """A load token that no other load has."""
        return self.new_id().bytes

    def clock(self) -> int:
        """The time on the clock of one process or another."""
        return self.now + self.random.choice([0, 0, 0, AHEAD])

    def latest_at(self) -> int:
        """No clock is further: of no process, and of no account, which openings move ahead one after the other."""
        of_accounts = [account.last_at for account in self.server.memory.accounts.values()]
        of_ledger = [account.posted_at for account in self.ledger.accounts.values()]
        return max(self.now + AHEAD, *of_accounts, *of_ledger)

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
        in_stream = {entry.sent.event_id for entry in entries if entry.sent}
        self.acknowledged &= in_stream | self.ledger.events.keys() | self.ledger.told | self.spooled()
        self.taken_orders &= self.orders_in_stream() | self.ledger.outcomes.keys()
        forget_lost(self.bookings, entries, self.ledger)
        self.ended.clear()

    def orders_in_stream(self) -> set[UUID]:
        """Orders that Redis holds."""
        return {entry.order.order_id for entry in self._read(NOTHING_YET) if entry.order}

    def reservations_under_way(self) -> set[UUID]:
        """Those of which Redis holds an entry that is not posted."""
        cursor = self.ledger.cursor
        entries = self._read(cursor.last_id if cursor else NOTHING_YET)
        return {entry.reservation.reservation_id for entry in entries if entry.reservation}

    def _read(self, after: StreamId) -> list[StreamEntry]:
        return [entry for entry in self.server.read(after) if isinstance(entry, StreamEntry)]

    def spooled(self) -> set[UUID]:
        """Events that edges have still to take in, and those of edges that have died."""
        left = {usage.event_id for file in self.disk if file.owner is None for usage in file.events}
        return left.union(*(edge.promised() for edge in self.edges))

    def memory_is_whole(self) -> None:
        """A new incarnation has begun: from here on everything is exact again."""
        self.reference = self.ledger.copy(frozenset())
        self.whole = not self.repeats
        self.cost_lost.clear()
        for entry in self.server.read(NOTHING_YET):
            self.reference.post([entry])
        forget_overtaken(self.bookings, self.reference)
        self.ended = {one.id for one in self.reference.reservations.values() if not one.is_open}

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
