"""The edge held against the ledger: figures of accounts (34, 42), and what stands in the streams (38)."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID

import msgspec

from app.io.postgres import Transaction as DatabaseTransaction
from app.io.redis import AccountView, LoadedAccount, RedisStore, RedisUnavailable
from app.io.statements import statements
from app.ledger import store
from app.ledger.book import Account
from app.ledger.proof import Finding
from app.rules import totals
from app.rules.moments import to_at
from app.wire import keys
from app.wire.events import StreamEntry, UnreadableEntry, parse_entry, parse_stream_id, show_stream_id
from app.wire.reservations import (
    ReservationChange,
    ReservationEnd,
    ReservationExtension,
    ReservationOpening,
    ReservationState,
)

_SQL = statements("app.ledger")
PAGE_ENTRIES = 1_000
NOBODY = UUID(int=0)
PROVED, NOT_GIVEN, UNREACHABLE = "proved", "not given", "unreachable"
Report = Callable[[UUID, str, Finding], None]
"""Takes environment, end user and finding."""


class _Cursor(msgspec.Struct, frozen=True):
    partition: int
    incarnation: UUID
    last_id: str


class EdgeProof:
    """Asks Redis until it does not answer; then the edge counts as not proved, and the ledger's proof goes on."""

    def __init__(self, redis: RedisStore | None, report: Report) -> None:
        self._redis = redis
        self._report = report
        self.state = NOT_GIVEN if redis is None else PROVED
        self.accounts = 0
        self.entries = 0

    async def prove_accounts(self, accounts: Sequence[Account]) -> None:
        """Compare what Redis has of accounts with what was published of them."""
        await self._ask(lambda redis: self._prove_accounts(redis, accounts))

    async def prove_streams(self, tx: DatabaseTransaction) -> None:
        """Prove that no cursor is beyond its stream, and that what is before it was posted or rejected."""
        await self._ask(lambda redis: self._prove_streams(redis, tx))

    async def _ask(self, question: Callable[[RedisStore], Awaitable[None]]) -> None:
        if self._redis is None or self.state == UNREACHABLE:
            return
        try:
            await question(self._redis)
        except RedisUnavailable:
            self.state = UNREACHABLE

    async def _prove_accounts(self, redis: RedisStore, accounts: Sequence[Account]) -> None:
        found = await redis.read_accounts_at_rest([(a.environment_id, a.end_user_id) for a in accounts])
        for account, loaded in zip(accounts, found, strict=True):
            if loaded is not None:
                self.accounts += 1
                for finding in _compare(account, loaded):
                    self._report(account.environment_id, account.end_user_id, finding)

    async def _prove_streams(self, redis: RedisStore, tx: DatabaseTransaction) -> None:
        for row in await tx.connection.fetch(_SQL["read_cursors"]):
            cursor = _Cursor(row["partition"], row["incarnation"], row["last_id"])
            if cursor.partition >= redis.agreement.partitions:
                self._report(NOBODY, "", Finding(38, _row(cursor), "there is no such partition"))
            else:
                await self._prove_stream(redis, tx, cursor)

    async def _prove_stream(self, redis: RedisStore, tx: DatabaseTransaction, cursor: _Cursor) -> None:
        """Of another memory than the cursor's nothing can be said: whose it is is looked at after each read."""
        last_id = parse_stream_id(cursor.last_id.encode())
        end = await redis.read_stream_end(cursor.partition)
        if end.incarnation == cursor.incarnation and end.last_id < last_id:
            message = f"is at {cursor.last_id}, its stream ends at {show_stream_id(end.last_id)}"
            self._report(NOBODY, "", Finding(38, _row(cursor), message))
        after = "-"
        while page := await redis.client.xrange(
            keys.stream(cursor.partition), after, cursor.last_id, count=PAGE_ENTRIES
        ):
            if (await redis.read_stream_end(cursor.partition)).incarnation != cursor.incarnation:
                return
            await self._prove_posted(tx, [parse_entry(stream_id, fields) for stream_id, fields in page])
            after = f"({page[-1][0].decode()}"

    async def _prove_posted(self, tx: DatabaseTransaction, entries: Sequence[StreamEntry | UnreadableEntry]) -> None:
        self.entries += len(entries)
        await self._prove_reservations(tx, [e for e in entries if isinstance(e, StreamEntry) and e.reservation])
        wanted: Mapping[str, tuple[UUID, str, UUID | None]] = {
            show_stream_id(entry.stream_id): _whose(entry)
            for entry in entries
            if isinstance(entry, UnreadableEntry) or entry.sent is not None
        }
        asked = [(environment, event) for environment, _, event in wanted.values() if event is not None]
        posted = await store.find_posted_events(tx, asked)
        missing = {place: entry for place, entry in wanted.items() if (entry[0], entry[2]) not in posted}
        if not missing:
            return
        event_ids = [event for _, _, event in missing.values() if event is not None]
        rejected = await tx.connection.fetch(_SQL["find_rejected"], event_ids, list(missing))
        known = {row["id"] for row in rejected} | {row["stream_id"] for row in rejected}
        for place, (environment_id, end_user_id, event_id) in missing.items():
            if place not in known and event_id not in known:
                message = f"entry {place} of the stream is before the cursor, and neither posted nor rejected"
                self._report(environment_id, end_user_id, Finding(38, f"usage_events {event_id}", message))

    async def _prove_reservations(self, tx: DatabaseTransaction, entries: Sequence[StreamEntry]) -> None:
        """What was opened has a row, what was ended is open no more; or it is the event that was posted, or listed."""
        asked = {(_whose(entry)[0], entry.reservation.reservation_id) for entry in entries if entry.reservation}
        if not asked:
            return
        pairs = [pair[0] for pair in asked], [pair[1] for pair in asked]
        rows: dict[UUID, list[_Opened]] = {}
        for row in await tx.connection.fetch(_SQL["find_reservations"], *pairs):
            ended_at = None if row["ended_at"] is None else to_at(row["ended_at"])
            rows.setdefault(row["id"], []).append(_Opened(to_at(row["opened_at"]), ended_at))
        posted = {event_id for _, event_id in await store.find_posted_events(tx, [*asked])}
        for entry in entries:
            change = entry.reservation
            if change is None:
                continue
            is_posted = change.reservation_id in posted and not isinstance(change, ReservationOpening)
            if is_posted or _is_told(change, rows.get(change.reservation_id, []), entry.accepted_at):
                continue
            place = show_stream_id(entry.stream_id)
            if not await tx.connection.fetch(_SQL["find_rejected"], list[UUID](), [place]):
                environment_id, end_user_id, _ = _whose(entry)
                message = f"entry {place} of the stream is before the cursor, and nothing came of it"
                self._report(environment_id, end_user_id, Finding(38, f"reservations {change.reservation_id}", message))


class _Opened(msgspec.Struct, frozen=True):
    """One time that a reservation was opened, as its row has it."""

    opened_at: int
    ended_at: int | None


def _is_told(change: ReservationChange, rows: Sequence[_Opened], at: int) -> bool:
    """Whether the ledger shows what an entry of that moment did; an end or extension of what it never saw does nothing.

    An opening is its own row's, or came while that was open, or is read again; an end leaves nothing open that began
    before it.
    """
    match change:
        case ReservationOpening():
            return any(row.ended_at is None or row.ended_at >= at for row in rows)
        case ReservationEnd() if rows:
            return all(row.ended_at is not None or row.opened_at > at for row in rows)
        case ReservationEnd():
            return change.state is not ReservationState.COMMITTED
        case ReservationExtension():
            return True


def _compare(account: Account, loaded: LoadedAccount) -> list[Finding]:
    """Published figures are the ledger's at that revision; where nothing is under way, accepted is applied."""
    view, row = loaded.view, f"accounts {account.id}"
    found = compare_published(Published(row, account.revision, account.total_micro, account.applied_micro), view)
    if loaded.quiet and view.pending_micro:
        message = f"at the edge {view.pending_micro} are accepted, not applied, and not in the stream"
        found.append(Finding(34, row, message))
    return found


class Published(msgspec.Struct, frozen=True):
    """What the edge is told of an account (micro-credits), and the account's row as findings name it."""

    row: str
    revision: int
    total_micro: int
    applied_micro: int


def compare_published(ledger: Published, view: AccountView) -> list[Finding]:
    """At one revision the edge has the ledger's figures (42)."""
    expected = (ledger.total_micro, totals.wrap(ledger.applied_micro))
    if view.revision != ledger.revision or (view.base_micro, view.applied_micro) == expected:
        return []
    message = f"the edge has (base, applied) {(view.base_micro, view.applied_micro)}, the ledger {expected}"
    return [Finding(42, ledger.row, message)]


def compare_accepted(ledger: Published, view: AccountView, costs_micro: int) -> list[Finding]:
    """Accepted is what is applied and the costs of what the ledger has not read yet (34)."""
    surplus_micro = totals.distance(view.accepted_micro, totals.wrap(ledger.applied_micro + costs_micro))
    if not surplus_micro:
        return []
    message = f"at the edge {surplus_micro} are accepted, neither applied nor in the stream"
    return [Finding(34, ledger.row, message)]


def _whose(entry: StreamEntry | UnreadableEntry) -> tuple[UUID, str, UUID | None]:
    event_id = entry.sent.event_id if isinstance(entry, StreamEntry) and entry.sent is not None else None
    try:
        return *keys.parse_account_ref(entry.ref), event_id
    except ValueError:
        return NOBODY, entry.ref.hex(), event_id


def _row(cursor: _Cursor) -> str:
    return f"stream_cursors {cursor.partition}"
