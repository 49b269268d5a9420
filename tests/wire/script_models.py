"""What each script of `app/wire/scripts` does, written in Python from its header and from the protocol's rules.

The scripts must agree with these functions in every answer and every key (test_script_agreement.py), and the protocol's
model stands on them (tests/protocol). Integers have no bounds here; the scripts' are doubles.
"""

from dataclasses import dataclass, field, replace
from math import inf
from uuid import UUID

from app.rules import totals
from app.rules.credits import MAX_COST_MICRO
from app.rules.moments import NEVER_AT
from app.rules.pricing import GraduatedPrice, cost_micro
from app.wire.events import show_stream_id
from app.wire.gauges import Hold
from app.wire.snapshot import NOTHING_BESIDE, AccountState, Beside

StreamId = tuple[int, int]
Fields = dict[bytes, bytes]
Holds = dict[tuple[str, str], tuple[int, int]]
"""By feature and holder: units, and when the holder's time is over (0 = not by itself)."""
NOTHING_YET: StreamId = (0, 0)


@dataclass
class EdgeAccount:
    """The account hash. Totals are modulo 2^52."""

    revision: int
    base: int
    applied: int
    accepted: int
    last_id: StreamId
    last_at: int
    valid_until: int
    ticked: int
    """The revision at which the last tick was left; 0 = none was."""
    snapshot: str
    status: str
    floor: int
    order_id: StreamId | None = None
    """Of the last order that no publish includes yet."""
    held_until: int | None = None
    """What was published as the boundary meanwhile."""
    ordered_id: StreamId | None = None
    """Of the last order ever."""
    reserved: int | None = None
    open: int | None = None
    period: int | None = None
    """Start of the period in which units are counted; None = nothing is."""
    resets_at: int | None = None
    returned_id: StreamId | None = None
    """Of the last end of a reservation that gave credit back at once, and is in no publish yet."""
    frozen: int | None = None
    """Where its test clock stands; None = it goes by the caller's time."""
    returned_until: int | None = None
    """The first boundary under which such credit was reserved."""

    @property
    def available(self) -> int:
        """What can be spent now."""
        return totals.available(self.base, self.accepted, self.applied)

    def clock(self, now_at: int) -> int:
        """What time it is for the account, where it is `now_at` for the caller."""
        return max(now_at if self.frozen is None else self.frozen, self.last_at)

    def is_of_another_time(self, now_at: int, at: int) -> bool:
        """Whether whoever asked as of `now_at` did not know where its test clock stands, by which it is `at`."""
        return self.frozen is not None and not self.frozen <= now_at <= at


@dataclass
class Held:
    """The hash of a reservation (tests/wire/reservation_models.py). What is None is not there."""

    state: str
    ref: bytes | None = None
    facts: bytes | None = None
    asked: bytes | None = None
    opening: str | None = None
    reserved: int | None = None
    opened_id: StreamId | None = None
    until: int | None = None
    due: int | None = None
    units: int | None = None
    period: int | None = None
    """What the opening counted, and where; None = nothing."""
    ended_asked: str | None = None
    ended: str | None = None
    late_asked: str | None = None
    late: str | None = None


@dataclass
class Memory:
    """All keys of one partition."""

    accounts: dict[bytes, EdgeAccount] = field(default_factory=dict)
    stream: list[tuple[StreamId, Fields]] = field(default_factory=list)
    seen: dict[UUID, bytes] = field(default_factory=dict)
    retried: dict[UUID, bytes] = field(default_factory=dict)
    used: dict[bytes, dict[str, int]] = field(default_factory=dict)
    """Micro-units by account and feature; no account without any."""
    tokens: dict[bytes, bytes] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)
    gauges: dict[bytes, Holds] = field(default_factory=dict)
    newest_id: StreamId = NOTHING_YET
    """Of the entry appended last; trimming does not change it."""
    reservations: dict[UUID, Held] = field(default_factory=dict)
    due: dict[UUID, float] = field(default_factory=dict)
    """When each open reservation falls due; never, for those who go by the real time, on a test clock."""

    def copy(self) -> "Memory":
        """An independent copy."""
        accounts = {ref: replace(account) for ref, account in self.accounts.items()}
        used = {ref: {**counters} for ref, counters in self.used.items()}
        remembered = {**self.seen}, {**self.retried}, used, {**self.tokens}, {**self.meta}
        gauges = {ref: {**holds} for ref, holds in self.gauges.items()}
        reservations = {key: replace(held) for key, held in self.reservations.items()}
        return Memory(accounts, [*self.stream], *remembered, gauges, self.newest_id, reservations, {**self.due})


@dataclass(frozen=True, kw_only=True)
class Priced:
    """What scripts are told of price and units."""

    graduated: GraduatedPrice | None = None
    until_at: int = NEVER_AT
    """From then on the price may be another."""
    feature_key: str = "f"
    units_micro: int = 0
    counted: bool = False
    limit: int | None = None

    @property
    def counts(self) -> bool:
        """Whether the feature's units are counted; those of a graduated price are."""
        return self.counted or self.graduated is not None


@dataclass(frozen=True)
class Accept(Priced):
    """Arguments of accept.lua. `lowest`: '' = the account's floor, '-' = none; `key` is the event's id.

    With a graduated price `cost` says nothing: it follows from what was used of the feature.
    """

    ref: bytes
    key: UUID
    now_at: int
    snapshot: str
    cost: int
    payload: bytes = b""
    enforce: bool = False
    lowest: str = ""
    fingerprint: bytes = b"f"
    most_entries: int = 1_000_000


@dataclass(frozen=True)
class Retry:
    """Arguments of retry.lua. `rejected_id` is the stream id of the entry that was rejected."""

    ref: bytes
    key: UUID
    now_at: int
    cost: int
    rejected_id: bytes
    payload: bytes = b""
    most_entries: int = 1_000_000
    feature_key: str = "f"
    units_micro: int = 0
    counts: bool = False
    """Whether the units were counted when the event first came."""


@dataclass(frozen=True)
class Publish:
    """Arguments of publish.lua. `incarnation` '' = the figures come with no cursor."""

    state: AccountState
    incarnation: str
    cursor: StreamId
    new_token: bytes


@dataclass(frozen=True)
class Reopened:
    """An open reservation that comes with its account."""

    key: UUID
    facts: bytes
    reserved: int
    due: int
    counted: tuple[int, int] | None = None
    """Units that its opening counted, and the period in which it did."""


@dataclass(frozen=True)
class Load:
    """Arguments of load.lua."""

    state: AccountState
    token: bytes
    incarnation: str
    reservations: tuple[Reopened, ...] = ()
    holds: tuple[Hold, ...] = ()


@dataclass(frozen=True)
class SetClock:
    """Arguments of set_clock.lua."""

    ref: bytes
    at: int
    new_token: bytes


@dataclass(frozen=True)
class NotePublished:
    """Arguments of note_published.lua."""

    incarnation: str
    cursor: StreamId
    oldest_kept: StreamId
    most_kept: int


def accept(memory: Memory, call: Accept) -> list[bytes]:  # noqa: C901, PLR0911 - one for each answer, in their order
    """Take one usage event in."""
    if call.key in memory.seen:
        return [b"seen", memory.seen[call.key]]
    account = memory.accounts.get(call.ref)
    if account is None:
        return [b"miss"]
    at = account.clock(call.now_at)
    if waits_at_boundary(memory, call.ref, account, at):
        return [b"wait"]
    if account.snapshot != call.snapshot:
        return [b"snapshot", account.snapshot.encode()]
    if account.is_of_another_time(call.now_at, at):
        return [b"frozen", b"%d" % (account.frozen or 0)]
    if at >= call.until_at:
        return [b"reprice", b"%d" % at]
    used = used_of(memory, call.ref, call.feature_key)
    call = _priced(call, used)
    if call.cost > MAX_COST_MICRO:
        return [b"dear", b"%d" % call.cost]
    before, cost = account.available, call.cost
    if _goes_beyond(account, call, used):
        return _remember(memory, call, f"!{cost}:{before}:{used}:{call.limit}:{account.resets_at}")
    lowest = int(call.lowest) if call.lowest not in {"", "-"} else account.floor
    if call.enforce and cost and call.lowest != "-" and before - cost < lowest:
        return _remember(memory, call, f"-{cost}:{before}")
    if bound := beyond_bound(memory, account, cost, call.most_entries):
        return [bound]
    overage = min(cost, max(0, cost - max(0, before)))
    append_usage(memory, call.ref, at, call.cost, call.payload, counted=_counted(call))
    return _remember(memory, call, f"+{cost}:{before - cost}:{overage}")


def retry(memory: Memory, call: Retry) -> bytes:
    """Take one usage event in again."""
    if memory.retried.get(call.key) == call.rejected_id:
        return b"again"
    account = memory.accounts.get(call.ref)
    if account is None:
        return b"miss"
    at = account.clock(call.now_at)
    if waits_at_boundary(memory, call.ref, account, at):
        return b"wait"
    if bound := beyond_bound(memory, account, call.cost, call.most_entries):
        return bound
    append_usage(memory, call.ref, at, call.cost, call.payload, counted=_counted(call))
    memory.retried[call.key] = call.rejected_id
    return b"retried"


def tick(memory: Memory, ref: bytes, now_at: int) -> bytes:
    """Leave a tick where the account's boundary has been reached."""
    account = memory.accounts.get(ref)
    if account is None:
        return b"miss"
    return b"wait" if waits_at_boundary(memory, ref, account, account.clock(now_at)) else b"early"


def set_clock(memory: Memory, call: SetClock) -> bytes:
    """Move an account's test clock on, and leave a tick where that brings it to its boundary."""
    account = memory.accounts.get(call.ref)
    if account is None:
        if call.ref in memory.tokens:
            memory.tokens[call.ref] = call.new_token
        return b"miss"
    account.frozen = max(call.at, account.frozen or 0)
    return tick(memory, call.ref, account.frozen)


def order(memory: Memory, ref: bytes, now_at: int, payload: bytes) -> bytes:
    """Leave an order, and have the account wait until a publish includes it."""
    account = memory.accounts.get(ref)
    if account is None:
        return b"miss"
    fields = {b"k": b"o", b"c": b"0", b"p": payload}
    append(memory, ref, account.clock(now_at), fields)
    account.order_id = account.ordered_id = account.last_id
    account.valid_until, account.ticked = 0, account.revision
    return b"ok"


def publish(memory: Memory, call: Publish) -> bytes:
    """Bring the ledger's figures to a loaded account."""
    state = call.state
    account = memory.accounts.get(state.ref)
    if account is None:
        if state.ref in memory.tokens:
            memory.tokens[state.ref] = call.new_token
        return b"absent"
    is_current = memory.meta.get("incarnation") == call.incarnation
    includes_order = account.order_id is not None and is_current and call.cursor >= account.order_id
    if state.revision <= account.revision:
        if account.held_until is not None and includes_order:
            account.valid_until, account.order_id, account.held_until = account.held_until, None, None
        return b"stale"
    _show(account, state)
    _keep_boundary(account, includes_return=is_current and call.cursor >= (account.returned_id or NOTHING_YET))
    if includes_order:
        account.order_id = account.held_until = None
    elif account.order_id is not None:
        account.valid_until, account.held_until = 0, account.valid_until
    is_quiet = is_current and call.cursor >= account.last_id
    if is_quiet:
        account.accepted = account.applied
    _bring_beside(memory, account, state, is_quiet=is_quiet)
    return b"published"


def _keep_boundary(account: EdgeAccount, *, includes_return: bool) -> None:
    """What the ledger publishes knows nothing of credit that came back at once before its return is posted."""
    if account.returned_until is None:
        return
    if includes_return:
        account.returned_id = account.returned_until = None
    else:
        account.valid_until = min(account.valid_until, account.returned_until)


def load_begin(memory: Memory, ref: bytes, new_token: bytes) -> list[bytes]:
    """Begin to load an account."""
    if ref in memory.accounts:
        return [b"loaded"]
    if "incarnation" not in memory.meta:
        return [b"unready"]
    token = memory.tokens.setdefault(ref, new_token)
    end = memory.stream[-1][0] if memory.stream else NOTHING_YET
    return [b"begun", token, memory.meta["incarnation"].encode(), show_stream_id(end).encode()]


def load(memory: Memory, call: Load) -> bytes:
    """Install an account whose figures were read after the stream was drained."""
    state = call.state
    if memory.tokens.get(state.ref) != call.token or memory.meta.get("incarnation") != call.incarnation:
        return b"refused"
    if state.ref in memory.accounts:
        return b"present"
    account = EdgeAccount(0, 0, 0, 0, NOTHING_YET, 0, 0, 0, "", "", 0)
    _show(account, state)
    account.accepted, account.frozen = account.applied, state.frozen_at
    for one in call.reservations:
        held = memory.reservations.setdefault(one.key, Held("open"))
        held.state, held.ref, held.facts = "open", state.ref, one.facts
        held.reserved, held.until, held.due = one.reserved, 0, one.due
        if one.counted is not None:
            held.units, held.period = one.counted
        memory.due[one.key] = due_score(account, one.due)
    memory.accounts[state.ref] = account
    memory.used.pop(state.ref, None)
    _bring_beside(memory, account, state, is_quiet=True)
    account.reserved, account.open = sum(one.reserved for one in call.reservations), len(call.reservations)
    memory.gauges[state.ref] = {(hold.feature_key, hold.holder): (hold.units, hold.expires_at) for hold in call.holds}
    del memory.tokens[state.ref]
    return b"loaded"


def note_published(memory: Memory, call: NotePublished) -> int:
    """Note how far the partition was published, and trim. A server keeps some of what is too old a little longer."""
    if memory.meta.get("incarnation") != call.incarnation:
        return 0
    memory.meta["published"] = show_stream_id(call.cursor)
    memory.stream = [entry for entry in memory.stream if entry[0] >= call.oldest_kept]
    if len(memory.stream) > call.most_kept:
        memory.stream = [entry for entry in memory.stream if entry[0] >= call.cursor]
    return 1


def due_score(account: EdgeAccount, due_at: int) -> float:
    """Where a reservation of the account stands among those that fall due."""
    return due_at if account.frozen is None else inf


def _show(account: EdgeAccount, state: AccountState) -> None:
    account.revision, account.base = state.revision, state.base_micro
    account.applied, account.valid_until = totals.wrap(state.applied_micro), state.valid_until
    account.last_at = max(account.last_at, state.posted_at)
    account.snapshot, account.status, account.floor = state.snapshot_id, state.subscription_status, state.floor_micro


def _bring_beside(memory: Memory, account: EdgeAccount, state: AccountState, *, is_quiet: bool) -> None:
    """A new period begins with what the ledger has counted in it; else the ledger's word holds where all is quiet."""
    beside, before = state.beside, account.period
    if is_quiet:
        is_nothing = beside == NOTHING_BESIDE
        account.reserved = None if is_nothing else beside.reserved_micro
        account.open = None if is_nothing else beside.open_reservations
    account.period, account.resets_at = beside.period_at or None, beside.resets_at if beside.period_at else None
    if account.period is None:
        if before is not None:
            memory.used.pop(state.ref, None)
    elif is_quiet or account.period != before:
        _replace_used(memory, state.ref, beside)


def _replace_used(memory: Memory, ref: bytes, beside: Beside) -> None:
    memory.used.pop(ref, None)
    if beside.used:
        memory.used[ref] = {feature: max(0, min(used, NEVER_AT)) for feature, used in beside.used}


def _priced(call: Accept, used: int) -> Accept:
    """With what a graduated price makes it cost."""
    if call.graduated is None:
        return call
    return replace(call, cost=cost_micro(call.graduated, call.units_micro, used))


def _goes_beyond(account: EdgeAccount, call: Accept, used: int) -> bool:
    """Whether enforced units are more than the limit of the period leaves."""
    counts = call.enforce and call.counts and account.period is not None
    return counts and call.limit is not None and used + call.units_micro > call.limit


def waits_at_boundary(memory: Memory, ref: bytes, account: EdgeAccount, at: int) -> bool:
    """At a boundary nothing is decided; one tick a revision asks the flusher to post what is due."""
    if at < account.valid_until:
        return False
    if account.ticked != account.revision:
        append(memory, ref, at, {b"k": b"t", b"c": b"0"})
        account.ticked = account.revision
    return True


def beyond_bound(memory: Memory, account: EdgeAccount, cost: int, most_entries: int) -> bytes | None:
    """The first bound that taking so much would go beyond."""
    accepted = totals.wrap(account.accepted + cost)
    if totals.distance(accepted, account.applied) >= totals.MAX_DISTANCE:
        return b"backlog"
    if account.available - cost <= -NEVER_AT:
        return b"range"
    return b"full" if len(memory.stream) >= most_entries else None


def _counted(call: Accept | Retry) -> tuple[str, int] | None:
    return (call.feature_key, call.units_micro) if call.counts else None


def append_usage(
    memory: Memory, ref: bytes, at: int, cost: int, payload: bytes, *, counted: tuple[str, int] | None = None
) -> None:
    """Usage that was decided on; `counted` are (feature, micro-units), where the account has a period."""
    account, fields = memory.accounts[ref], {b"k": b"u", b"c": b"%d" % cost, b"p": payload}
    if counted is not None and account.period is not None:
        feature_key, units_micro = counted
        fields[b"s"] = b"%d" % account.period
        count_used(memory, ref, feature_key, used_of(memory, ref, feature_key) + units_micro)
    append(memory, ref, at, fields)
    account.accepted = totals.wrap(account.accepted + cost)


def used_of(memory: Memory, ref: bytes, feature_key: str) -> int:
    """What is counted of a feature."""
    return memory.used.get(ref, {}).get(feature_key, 0)


def count_used(memory: Memory, ref: bytes, feature_key: str, units_micro: int) -> None:
    """So much of a feature is used by now."""
    memory.used.setdefault(ref, {})[feature_key] = max(0, min(units_micro, NEVER_AT))


def append(memory: Memory, ref: bytes, at: int, fields: Fields) -> None:
    """An entry of a loaded account."""
    account = memory.accounts[ref]
    memory.newest_id = (memory.newest_id[0], memory.newest_id[1] + 1)
    memory.stream.append((memory.newest_id, {b"a": ref, b"t": b"%d" % at, b"r": b"%d" % account.revision, **fields}))
    account.last_id, account.last_at = memory.newest_id, at


def _remember(memory: Memory, call: Accept, outcome: str) -> list[bytes]:
    memory.seen[call.key] = bytes((len(call.fingerprint),)) + call.fingerprint + outcome.encode()
    return [b"ok", outcome.encode()]
