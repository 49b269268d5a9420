"""However far the flusher lags, the ledger is the same: with orders, and with what happens to blocks by itself (40).

Orders find what they speak of as the flusher lets them: in the rows of earlier batches, and in the batch itself.
"""

from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from app.flusher.batch import post_batch, preview_order
from app.flusher.posting import Posting
from app.ledger.book import Account, Lines, PostedEvent, Reservation
from app.ledger.targets import Targets
from app.orders.outcomes import Outcome, target_of
from app.rules.burndown import Block, Rollover, Terms
from app.rules.moments import NEVER_AT
from app.subscriptions.book import Subscribers
from app.wire.events import EntryKind, StreamEntry, UsagePayload
from app.wire.orders import BillOverage, Correction, Debit, VoidGrant, VoidUsage
from app.wire.reservations import ReservationEnd, ReservationOpening, ReservationState
from tests.flusher.batch_subjects import ending, extension, make_account, make_block, opening, ref_of, tick, usage
from tests.rules.laws import LAW

SOURCE = "plan"
REF = ref_of("user")


@dataclass
class Rows:
    """What Postgres holds of one account."""

    account: Account
    blocks: dict[UUID, Block]
    events: dict[UUID, PostedEvent] = field(default_factory=dict)
    outcomes: dict[UUID, Outcome] = field(default_factory=dict)
    reservations: dict[UUID, Reservation] = field(default_factory=dict)
    counters: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Micro-units by feature and period."""

    def targets(self, entries: list[StreamEntry]) -> Targets:
        """What the flusher reads for orders and reservations of a batch: rows as they were before it, nothing else."""
        orders = [entry.order for entry in entries if entry.order and entry.order.order_id not in self.outcomes]
        named = {target_of(order) for order in orders}
        events = {event_id: event for event_id, event in self.events.items() if event_id in named}
        held = {e.reservation.reservation_id for e in entries if e.reservation} & self.reservations.keys()
        reservations = {key: self.reservations[key] for key in held}
        sources = [*events.values(), *reservations.values()]
        drawn = {block_id for source in sources for block_id, _ in source.parsed_draws()}
        blocks = {key: structs.replace(block) for key, block in self.blocks.items() if key in named | drawn}
        done = [outcome for outcome in self.outcomes.values() if outcome.refused is None]
        voided = {target for outcome in done if (target := target_of(outcome.order)) is not None}
        return Targets(events, blocks, voided & (named | drawn), {*self.outcomes}, reservations)

    def post(self, entries: list[StreamEntry]) -> Posting:
        """Post a batch: live blocks are the account's, everything else is looked up."""
        live = [structs.replace(block) for block in self.blocks.values() if block.remaining_micro]
        self.account.blocks = sorted(live, key=lambda block: (block.priority, block.expires_at, block.id))
        ids = [e.payload.event_id for e in entries if e.payload]
        ids += [e.reservation.reservation_id for e in entries if e.reservation]
        posted = {(self.account.environment_id, one) for one in ids if one in self.events}
        posting = post_batch({REF: self.account}, [*entries], posted, self.targets(entries))
        for block in [*[block for _, block in posting.made_blocks], *self.account.blocks]:
            self.blocks[block.id] = structs.replace(block)
        for _, block in posting.changed_blocks.values():
            self.blocks[block.id] = structs.replace(block)
        self.events |= {event.id: event for event in posting.events}
        self.outcomes |= {outcome.order.order_id: outcome for outcome in posting.outcomes}
        self.reservations |= {one.id: one for one in posting.reservations.values()}
        self.counters.update({(row.feature_key, row.period_at): 0 for row in posting.counted})
        for row in posting.counted:
            self.counters[row.feature_key, row.period_at] += row.units_micro
        return posting

    def counted(self) -> Counter[tuple[str, int]]:
        """What the counters should be: events that were not voided, and what is reserved still."""
        done = [outcome.order for outcome in self.outcomes.values() if outcome.refused is None]
        voided = {order.event_id for order in done if isinstance(order, VoidUsage)}
        found = Counter[tuple[str, int]]()
        for row in [
            *(event for event in self.events.values() if event.id not in voided),
            *(reservation for reservation in self.reservations.values() if reservation.is_open),
        ]:
            if row.period_at is not None:
                found[row.feature_key, row.period_at] += row.units_micro
        return found

    def summary(self) -> object:
        """All that must not depend on the lag."""
        return (
            self.account.total_micro,
            self.account.debt_micro,
            {key: (b.remaining_micro, b.granted_micro, b.is_scheduled) for key, b in self.blocks.items()},
            {key: (event.draws, event.debt_micro) for key, event in self.events.items()},
            {key: outcome.refused for key, outcome in self.outcomes.items()},
            {key: structs.replace(r, opened_seq=0, ended_seq=0) for key, r in self.reservations.items()},
            (self.account.reserved_micro, self.account.open_reservations),
            {**self.counters},
        )


blocks = st.lists(
    st.tuples(
        st.integers(1, 9),
        st.sampled_from([NEVER_AT, 6, 9]),
        st.sampled_from([None, 3, 5]),
        st.sampled_from([None, None, 4, 12]),
        st.sampled_from([None, None, 500_000, 1_000_000]),
    ),
    min_size=1,
    max_size=4,
)
ENDS = {"commit": ReservationState.COMMITTED, "release": ReservationState.RELEASED, "expire": ReservationState.EXPIRED}
VERBS = [*["use"] * 3, *["open"] * 2, *ENDS, "late", "extend", "tick", "void event", "void block", "take", "bill"]
steps = st.lists(
    st.tuples(
        st.sampled_from(VERBS),
        st.integers(0, 12),
        st.integers(0, 2),
        st.booleans(),
    ),
    max_size=14,
)

few_steps = st.lists(
    st.tuples(
        st.sampled_from(["use", *["open"] * 3, *["commit"] * 2, "release", "late", "void event"]),
        st.integers(0, 3),
        st.integers(0, 2),
        st.booleans(),
    ),
    max_size=12,
)
"""About the first few things, so that each meets much."""


def make_rows(made: list[tuple[int, int, int | None, int | None, int | None]]) -> Rows:
    """An account with blocks: amount, expiry, scheduled for, cap, share that rolls over."""
    made_blocks: list[Block] = []
    for number, (amount, expires_at, scheduled_at, cap, share) in enumerate(made):
        block = make_block(number + 1, amount, expires_at)
        block.source, block.is_scheduled = SOURCE, scheduled_at is not None
        block.effective_at = scheduled_at or 0
        rollover = None if share is None or expires_at == NEVER_AT else Rollover(share, None, 11)
        block.terms = Terms("core", cap_micro=cap if scheduled_at else None, rollover=rollover)
        made_blocks.append(block)
    account = make_account("user", made_blocks)
    account.total_micro = sum(block.remaining_micro for block in made_blocks if not block.is_scheduled)
    return Rows(account, {block.id: block for block in made_blocks})


def make_entries(program: list[tuple[str, int, int, bool]]) -> list[StreamEntry]:
    """The stream: time goes on by 0 to 2 with each step."""
    entries: list[StreamEntry] = []
    at = 0
    for number, (verb, what, pause, allow_debt) in enumerate(program):
        at += pause
        if verb == "tick":
            entries.append(tick("user", at))
        elif verb == "use":
            entries.append(usage("user", number, what, at))
        elif verb == "late":  # as a commit that comes after the end; now and then its expiry never came
            entries.append(usage("user", what, pause * 3, at))
        elif verb == "open":
            entries.append(opening("user", number, what, at))
        elif verb == "extend":
            entries.append(extension("user", what, at + 5, at))
        elif verb in ENDS:  # of any step before it, now and then of usage: as if its opening had been lost
            used = pause * 3 if verb == "commit" else 0
            entries.append(ending("user", what, ENDS[verb], at, used_micro=used))
        else:
            entries.append(
                StreamEntry(
                    (at, number), REF, EntryKind.ORDER, at, 1, 0, None, make_order(verb, what, number, debt=allow_debt)
                )
            )
    return [structs.replace(entry, period_at=_period_at(entry)) for entry in entries]


def _period_at(entry: StreamEntry) -> int | None:
    """Periods of four moments; every third thing is not counted. Releases and expiries count nothing."""
    match entry.payload or entry.reservation:
        case UsagePayload(event_id=event_id):
            key = event_id
        case ReservationOpening(reservation_id=key):
            pass
        case ReservationEnd(reservation_id=key, state=ReservationState.COMMITTED):
            pass
        case _:
            return None
    return None if key.int % 3 == 2 else entry.accepted_at // 4 * 4


def make_order(verb: str, what: int, number: int, *, debt: bool) -> Correction:
    """An order; events and blocks are named by small numbers."""
    order_id = UUID(int=1_000 + number)
    match verb:
        case "void event":
            return VoidUsage(order_id=order_id, actor="f", event_id=UUID(int=what))
        case "void block":
            return VoidGrant(order_id=order_id, actor="f", block_id=UUID(int=what % 5 + 1), allow_debt=debt)
        case "bill":
            return BillOverage(order_id=order_id, actor="f")
    return Debit(order_id=order_id, actor="f", amount_micro=what + 1, allow_debt=debt)


def post_all(rows: Rows, entries: list[StreamEntry], size: int) -> object:
    """Post in batches of a size, and once more when all is due."""
    for start in range(0, len(entries), size):
        rows.post(entries[start : start + size])
    rows.post([tick("user", 100)])
    return rows.summary()


@settings(LAW, max_examples=600)
@given(blocks, steps, st.integers(2, 14))
def test_lag_does_not_matter(
    made: list[tuple[int, int, int | None, int | None, int | None]],
    program: list[tuple[str, int, int, bool]],
    size: int,
) -> None:
    """One entry a batch, several, or everything in one: the same ledger, and the same fate of every order."""
    entries = make_entries(program)
    assert post_all(make_rows(made), entries, size) == post_all(make_rows(made), entries, 1)


@settings(LAW, max_examples=600)
@given(blocks, st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), max_size=6), st.sets(st.integers(0, 30)))
def test_who_comes_by_makes_no_difference(
    made: list[tuple[int, int, int | None, int | None, int | None]], uses: list[tuple[int, int]], looks: set[int]
) -> None:
    """What falls due is posted as of its moment, in one step or in many; and so is what it pays of a debt."""
    entries: list[StreamEntry] = []
    for number, (units, pause) in enumerate(uses):
        entries.append(usage("user", number, units, pause + (entries[-1].accepted_at if entries else 0)))
    with_looks = sorted([*entries, *(tick("user", at) for at in looks)], key=lambda entry: entry.accepted_at)
    posted: list[list[tuple[str, int, Lines]]] = []
    for program in (entries, with_looks):
        rows = make_rows(made)
        postings = [rows.post([entry]) for entry in [*program, tick("user", 100)]]
        posted.append([(each.kind, each.posted_at, each.lines) for one in postings for each in one.transactions])
    assert posted[0] == posted[1]


@settings(LAW, max_examples=600)
@given(blocks, few_steps, st.integers(1, 14))
def test_counters_are_their_events_and_what_is_reserved(
    made: list[tuple[int, int, int | None, int | None, int | None]],
    program: list[tuple[str, int, int, bool]],
    size: int,
) -> None:
    """66: of each period, whatever ended in which, came twice, or was voided."""
    rows = make_rows(made)
    post_all(rows, make_entries(program), size)
    assert +rows.counters == +rows.counted()
    assert min(rows.counters.values(), default=0) >= 0


@settings(LAW, max_examples=600)
@given(blocks, steps, st.sampled_from(["void event", "void block", "take", "bill"]), st.integers(0, 12), st.booleans())
def test_a_preview_is_what_happens(
    made: list[tuple[int, int, int | None, int | None, int | None]],
    program: list[tuple[str, int, int, bool]],
    verb: str,
    what: int,
    debt: bool,  # noqa: FBT001 - drawn by the law
) -> None:
    """The same lines and totals, or the same refusal, whatever is due or owed by then."""
    rows, entries = make_rows(made), make_entries(program)
    rows.post(entries)
    at = max(100 if what % 2 else 7, rows.account.posted_at)  # as the script dates it
    order = make_order(verb, what, 99, debt=debt)
    entry = StreamEntry((at, 99), REF, EntryKind.ORDER, at, rows.account.revision, 0, None, order)
    account = structs.replace(
        rows.account, blocks=[structs.replace(b) for b in rows.blocks.values() if b.remaining_micro]
    )
    account.blocks.sort(key=lambda block: (block.priority, block.expires_at, block.id))
    would = preview_order(account, order, rows.targets([entry]), at, Subscribers())
    really = rows.post([entry])
    assert [outcome.refused for outcome in would.outcomes] == [outcome.refused for outcome in really.outcomes]
    if really.outcomes[0].refused is None:
        assert would.transactions[-1].lines == really.transactions[-1].lines
        assert would.transactions[-1].total_after_micro == really.transactions[-1].total_after_micro
