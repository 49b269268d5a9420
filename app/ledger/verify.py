"""`quotastack ledger verify`: the ledger proved from its rows, and the edge held against it."""

from collections import Counter
from uuid import UUID

import msgspec

from app.io.postgres import Database
from app.io.postgres import Transaction as DatabaseTransaction
from app.io.redis import RedisStore
from app.ledger import evidence, store
from app.ledger.book import Account
from app.ledger.proof import Evidence, Finding, issued_and_used, prove
from app.rules import totals

MAX_ORPHANS = 100
PAGE = 500
"""Accounts that are proved together."""


class FoundAt(msgspec.Struct, frozen=True):
    """A finding, and whose it is."""

    environment_id: UUID
    end_user_id: str
    finding: Finding


class VerifyReport(msgspec.Struct):
    """What was looked at, and what is wrong."""

    counts: dict[str, int]
    findings: list[FoundAt]


async def verify(
    database_url: str, redis: RedisStore | None, environment_id: UUID | None, end_user_id: str | None
) -> VerifyReport:
    """Prove every account of the environment (None = of all), or one customer's; the edge too where Redis is given."""
    database = await Database.open(database_url, "quotastack verify", max_size=1)
    counts: Counter[str] = Counter(accounts=0, transactions=0, events=0, blocks=0, edge_accounts=0)
    findings: list[FoundAt] = []
    after = (UUID(int=0), UUID(int=0))
    try:
        while page := await _read_page(database, after, environment_id, end_user_id):
            for proof in page:
                account = proof.account
                found = prove(proof)
                if redis is not None:
                    found += await _prove_edge(redis, account, counts)
                findings += [FoundAt(account.environment_id, account.end_user_id, finding) for finding in found]
                _count(counts, proof)
            after = (page[-1].account.environment_id, page[-1].account.id)
        findings += await _orphans(database, environment_id)
        findings += await _usage(database, environment_id)
    finally:
        await database.close()
    return VerifyReport(dict(counts), findings)


async def _orphans(database: Database, environment_id: UUID | None) -> list[FoundAt]:
    async def read(tx: DatabaseTransaction) -> list[tuple[UUID, Finding]]:
        await tx.connection.execute("SET LOCAL statement_timeout = 0")
        return await evidence.list_orphans(tx, environment_id, MAX_ORPHANS)

    return [FoundAt(environment, "", finding) for environment, finding in await database.run(None, read)]


async def _usage(database: Database, environment_id: UUID | None) -> list[FoundAt]:
    """Each event has its key, and the hours are the sums of the events."""

    async def read(tx: DatabaseTransaction) -> list[tuple[UUID, Finding]]:
        await tx.connection.execute("SET LOCAL statement_timeout = 0")
        gaps = await evidence.list_key_gaps(tx, environment_id, MAX_ORPHANS)
        return gaps + await evidence.list_usage_gaps(tx, environment_id, MAX_ORPHANS)

    return [FoundAt(environment, "", finding) for environment, finding in await database.run(None, read)]


def _count(counts: Counter[str], proof: Evidence) -> None:
    counts.update(
        accounts=1,
        transactions=len(proof.transactions),
        events=len(proof.events),
        blocks=len(proof.blocks),
    )
    counts.update({f"{kind}_micro": amount for kind, amount in issued_and_used(proof).items()})


async def _read_page(
    database: Database, after: tuple[UUID, UUID], environment_id: UUID | None, end_user_id: str | None
) -> list[Evidence]:
    """A page of accounts with all their rows, as of one moment."""

    async def read(tx: DatabaseTransaction) -> list[Evidence]:
        await tx.connection.execute("SET LOCAL statement_timeout = 0")
        accounts = await store.list_accounts_to_verify(tx, after, environment_id, end_user_id, PAGE)
        owners = [(account.environment_id, account.id) for account in accounts]
        blocks = await evidence.read_all_blocks(tx, owners)
        transactions = await evidence.read_all_transactions(tx, owners)
        events = await evidence.read_all_events(tx, owners)
        return [Evidence(a, blocks[a.id], transactions[a.id], events[a.id]) for a in accounts]

    return await database.run(None, read, isolation="repeatable_read")


async def _prove_edge(redis: RedisStore, account: Account, counts: Counter[str]) -> list[Finding]:
    """What Redis has of the account must be what was published; where nothing is under way, accepted is applied."""
    loaded = await redis.read_account_at_rest(account.environment_id, account.end_user_id)
    if loaded is None:
        return []
    counts["edge_accounts"] += 1
    view, quiet = loaded.view, loaded.quiet
    found: list[Finding] = []
    if view.revision == account.revision:
        expected = (account.total_micro, totals.wrap(account.applied_micro))
        if (view.base_micro, view.applied_micro) != expected:
            message = f"has (base, applied) {(view.base_micro, view.applied_micro)}, the ledger {expected}"
            found.append(Finding(42, "edge account", message))
    if quiet and view.pending_micro:
        message = f"{view.pending_micro} are accepted, not applied, and not in the stream"
        found.append(Finding(34, "edge account", message))
    return found
