"""`quotastack ledger verify`: the ledger proved from its rows as of one moment, and the edge held against it."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from importlib.metadata import version
from uuid import UUID

import msgspec

from app.io.clock import Clock
from app.io.postgres import Database, Record, applied_steps
from app.io.postgres import Transaction as DatabaseTransaction
from app.io.redis import RedisStore
from app.ledger import evidence as rows
from app.ledger import store
from app.ledger.book import Account
from app.ledger.checkpoint_proof import prove_checkpoints
from app.ledger.checkpoints import Checkpoint
from app.ledger.edge_proof import NOBODY, NOT_GIVEN, EdgeProof
from app.ledger.evidence import Evidence, Held, Selection
from app.ledger.proof import AccountProof, Finding
from app.rules.chain import ChainedHead, RunningDigest

MAX_FINDINGS = 1_000
"""Findings that are kept; all are counted."""
WRITTEN_ONCE = (
    "ledger_transactions",
    "ledger_lines",
    "usage_events",
    "usage_event_keys",
    "ledger_orders",
    "ledger_checkpoints",
    "ledger_checkpoint_heads",
    "subscription_history",
)
SUMMED = ("issued", "billed", "block", "debt", "reserved", "consumed", "expired", "voided")
"""Kinds of ledger account whose lines are summed even where there are none."""
KEYED = ("accounts", "credit_blocks", "reservations", *(table for table in WRITTEN_ONCE if table != "usage_events"))
"""Usage events have their key in a table of its own."""
MAX_GAPS = 1_000
TOLD_EVERY = 1_000
"""Accounts and events between two calls of whoever watches."""
COUNTED = ("accounts", "transactions", "events", "blocks", "reservations", *(f"{kind}_micro" for kind in SUMMED))
_SETTINGS = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "plan_cache_mode": "force_custom_plan",  # what is selected decides between an index and reading everything
    "work_mem": "64MB",
    "jit": "off",
}


class NothingToVerify(Exception):
    """There is no such environment or customer. Its text is for the operator."""


class FoundAt(msgspec.Struct, frozen=True):
    """A finding, and whose it is; nobody's are those of a table as a whole."""

    environment_id: UUID
    end_user_id: str
    finding: Finding


class VerifyReport(msgspec.Struct):
    """What was looked at, and what is wrong: the first MAX_FINDINGS of `finding_count`."""

    counts: dict[str, int]
    findings: list[FoundAt]
    finding_count: int = 0
    edge: str = NOT_GIVEN
    """'proved' | 'not given' | 'unreachable'."""
    heads_digest: str = ""
    """SHA-256 over (account, seq, hash) of every account, in order: the same where two ledgers are the same."""
    versions: dict[str, str] = {}
    started_at: datetime | None = None
    finished_at: datetime | None = None
    most_rows_held: int = 0
    """Of all tables, in memory at once."""


class Progress(msgspec.Struct, frozen=True):
    """How far it is."""

    accounts: int
    events: int
    all_accounts: int
    all_events: int


Watch = Callable[[Progress], None]


def _nobody(_progress: Progress) -> None:
    """Whom it is told where nobody watches."""


class _Order(msgspec.Struct, frozen=True):
    """What is to be verified (None = everything), against which checkpoints that were kept outside, and who is told."""

    environment_id: UUID | None
    end_user_id: str | None
    kept: Sequence[Checkpoint]
    watch: Watch


async def verify(
    database_url: str,
    redis: RedisStore | None,
    environment_id: UUID | None,
    end_user_id: str | None,
    *,
    kept: Sequence[Checkpoint] = (),
    watch: Watch = _nobody,
) -> VerifyReport:
    """Prove every account of the environment (None = of all), or one customer's; the edge too where Redis is given.

    Raises NothingToVerify, and what `Database` raises where Postgres cannot be read.
    """
    clock = Clock()
    started_at = clock.now()
    order = _Order(environment_id, end_user_id, kept, watch)
    database = await Database.open(database_url, "quotastack verify", max_size=1, settings=_SETTINGS, work_seconds=None)

    async def work(tx: DatabaseTransaction) -> VerifyReport:
        return await _Verification(tx, redis, order, started_at).run()

    try:
        report = await database.run(None, work, isolation="repeatable_read")
    finally:
        await database.close()
    report.finished_at = clock.now()
    return report


class _Verification:
    """One run, in one transaction that sees one moment."""

    def __init__(self, tx: DatabaseTransaction, redis: RedisStore | None, order: _Order, started_at: datetime) -> None:
        self._tx = tx
        self._order = order
        self._heads = RunningDigest()
        self._counts = Counter(dict.fromkeys(COUNTED, 0))
        self._all_accounts = self._all_events = 0
        self._told = 0
        self._report = VerifyReport({}, [], started_at=started_at)
        self._edge = EdgeProof(redis, self._found)

    async def run(self) -> VerifyReport:
        """Prove everything that was asked for."""
        selection = await self._select()
        self._all_accounts, self._all_events, rejected = await rows.count_rows(self._tx, selection)
        evidence = await rows.open_evidence(self._tx, selection, self._found_orphan)
        async for accounts in rows.read_accounts(evidence):
            await self._edge.prove_accounts(accounts)
            for account in accounts:
                await self._prove_account(evidence, account)
        await evidence.pass_rest()
        await self._prove_usage()
        checkpoints = await prove_checkpoints(self._tx, selection, self._order.kept, evidence.held, self._found_orphan)
        await self._prove_guards()
        if selection == Selection():
            await self._edge.prove_streams(self._tx)
        self._counts.update(rejected_events=rejected, checkpoints=checkpoints)
        await self._write_report(evidence.held)
        return self._report

    async def _select(self) -> Selection:
        environment_id, end_user_id = self._order.environment_id, self._order.end_user_id
        if environment_id is not None and not await rows.has_environment(self._tx, environment_id):
            raise NothingToVerify(f"there is no environment env_{environment_id.hex}")
        if end_user_id is None:
            return Selection(None if environment_id is None else [environment_id])
        owners = await rows.list_customers(self._tx, environment_id, end_user_id)
        if not owners:
            raise NothingToVerify(f"there is no customer {end_user_id!r}")
        return Selection([owner[0] for owner in owners], [owner[1] for owner in owners], end_user_id)

    async def _prove_account(self, evidence: Evidence, account: Account) -> None:
        def report(invariant: int, row: str, message: str) -> None:
            self._found(account.environment_id, account.end_user_id, Finding(invariant, row, message))

        owner = (account.environment_id, account.id)
        blocks = await rows.read_blocks(evidence, owner)
        evidence.held.change(len(blocks))
        proof = AccountProof(account, blocks, report)
        while page := await evidence.transactions.of(owner):
            for row in page:
                await self._prove_transaction(evidence, proof, row)
            self._counts["transactions"] += len(page)
        proof.finish()
        evidence.held.change(-len(blocks) - proof.reservations.count)
        self._counts["accounts"] += 1
        self._counts["blocks"] += len(blocks)
        for kind, amount in proof.sums.items():
            self._counts[f"{kind}_micro"] += amount
        self._heads.add(ChainedHead(account.id.bytes, account.seq, account.head_hash))
        self._tell()

    async def _prove_transaction(self, evidence: Evidence, proof: AccountProof, row: Record) -> None:
        key = row[:3]
        proof.begin(rows.transaction_of(row, await rows.read_lines(evidence, key)))
        while page := await evidence.events.of(key):
            for event in page:
                proof.add_event(rows.event_of(event))
            self._counts["events"] += len(page)
            self._tell()
        before = proof.reservations.count
        while reservations := await evidence.reservations.of(key):
            for reservation in reservations:
                proof.reservations.add(store.reservation_of(reservation))
            self._counts["reservations"] += len(reservations)
        proof.end()
        evidence.held.change(proof.reservations.count - before)
        while heads := await evidence.heads.of(key):
            for head in heads:
                proof.compare_head(head["day"], head["hash"])

    async def _prove_usage(self) -> None:
        """Each event has its key, each order its transaction; hours and counters are the sums of the events."""
        if self._order.end_user_id is not None:
            return
        gaps = await rows.list_key_gaps(self._tx, self._order.environment_id, MAX_GAPS)
        gaps += await rows.list_usage_gaps(self._tx, self._order.environment_id, MAX_GAPS)
        gaps += await rows.list_counter_gaps(self._tx, self._order.environment_id, MAX_GAPS)
        gaps += await rows.list_order_gaps(self._tx, self._order.environment_id, MAX_GAPS)
        for environment_id, finding in gaps:
            self._found(environment_id, "", finding)

    async def _prove_guards(self) -> None:
        """What keeps keys single (14) and rows as they are (8) is in its place."""
        for guard in await rows.read_guards(self._tx, sorted({*KEYED, *WRITTEN_ONCE})):
            if guard.table in KEYED and not guard.has_key:
                self._found(NOBODY, "", Finding(14, guard.table, "has lost its primary key"))
            if guard.table in WRITTEN_ONCE and not guard.refuses_change:
                self._found(NOBODY, "", Finding(8, guard.table, "its trigger written_once is off: rows can be changed"))

    async def _write_report(self, held: Held) -> None:
        report, connection = self._report, self._tx.connection
        report.counts = {**self._counts, "edge_accounts": self._edge.accounts, "stream_entries": self._edge.entries}
        report.edge = self._edge.state
        report.heads_digest = self._heads.value().hex()
        report.most_rows_held = held.most
        report.versions = {
            "quotastack": version("quotastack"),
            "schema": (await applied_steps(connection))[-1],
            "postgres": await connection.fetchval("SHOW server_version"),
        }

    def _found_orphan(self, environment_id: UUID, finding: Finding) -> None:
        self._found(environment_id, "", finding)

    def _found(self, environment_id: UUID, end_user_id: str, finding: Finding) -> None:
        self._report.finding_count += 1
        if len(self._report.findings) < MAX_FINDINGS:
            self._report.findings.append(FoundAt(environment_id, end_user_id, finding))

    def _tell(self) -> None:
        done = self._counts["accounts"] + self._counts["events"]
        if done - self._told >= TOLD_EVERY:
            self._told = done
            progress = Progress(self._counts["accounts"], self._counts["events"], self._all_accounts, self._all_events)
            self._order.watch(progress)
