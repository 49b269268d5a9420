"""What verify looks at, how much of it at once, and what it reports."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from app.flusher.batch import post_batch
from app.io.postgres import Database, Transaction, known_steps
from app.ledger import evidence, service, store
from app.ledger import verify as verifying
from app.ledger.showing import ReportDocument, report_json
from app.ledger.verify import NothingToVerify, Progress, verify
from app.rules.moments import to_datetime
from app.wire import keys
from app.wire.events import EntryKind, StreamEntry, UsagePayload
from tests.app.core import Tenant
from tests.app.ledger.proved import Proved, shown, verified
from tests.app.ledger.test_reading import customer
from tests.app.schema.catalogue import connected
from tests.conftest import DatabaseUrls

EVENTS, BATCH = 30_000, 5_000
AT = 1_790_000_000_000_000
"""In 2026."""


def test_everything_is_counted(copy: DatabaseUrls, proved: Proved) -> None:
    """Of the ledger that a flusher posted, with debt, a payment, an expiry and two checkpoints: no finding."""
    report = verified(copy)
    assert report.findings == []
    expected = {"accounts": 3, "transactions": 15, "events": 6, "blocks": 5, "checkpoints": 2, "rejected_events": 0}
    assert expected.items() <= report.counts.items()
    assert -report.counts["issued_micro"] == 189_000_000
    assert (report.counts["reservations"], report.counts["reserved_micro"]) == (2, 5_000_000)
    assert report.counts["expired_micro"] == 2_000_000
    assert proved.environment
    again = verified(copy)
    assert again.heads_digest == report.heads_digest
    assert list(again.counts) == list(report.counts)
    assert report.versions["postgres"].startswith("18.")
    assert report.versions["schema"] == known_steps()[-1]


@pytest.mark.parametrize("end_user_id", ["ada", "bob"])
def test_one_customer_is_proved_alone(copy: DatabaseUrls, proved: Proved, end_user_id: str) -> None:
    """With all of theirs and nothing of others, in one environment or in all."""
    events = {"ada": 4, "bob": 1}[end_user_id]
    for environment_id in (proved.environment, None):
        report = asyncio.run(verify(copy.owner, None, environment_id, end_user_id))
        assert report.findings == []
        assert (report.counts["accounts"], report.counts["events"]) == (1, events)


@pytest.mark.parametrize(("environment_id", "end_user_id"), [(UUID(int=7), None), (None, "nobody")])
def test_nobody_is_not_verified(copy: DatabaseUrls, environment_id: UUID | None, end_user_id: str | None) -> None:
    """Whoever misspelt a name is told."""
    with pytest.raises(NothingToVerify):
        asyncio.run(verify(copy.owner, None, environment_id, end_user_id))


def test_findings_are_kept_up_to_a_bound(copy: DatabaseUrls, proved: Proved, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are counted, the document says how many it leaves out."""

    async def spoil() -> None:
        async with connected(copy.owner) as connection:
            await connection.execute("UPDATE accounts SET debt_micro = debt_micro + 1, seq = seq + 1")

    asyncio.run(spoil())
    monkeypatch.setattr(verifying, "MAX_FINDINGS", 3)
    report = verified(copy)
    assert (len(report.findings), report.finding_count > 3) == (3, True)
    document = msgspec.json.decode(report_json(report, None, None), type=ReportDocument)
    assert document.findings_left_out == report.finding_count - 3
    assert document.findings[0].end_user_id in {"ada", "bob"}
    assert proved.environment == document.findings[0].environment_id


async def post_many(database: Database, environment_id: UUID) -> None:
    """EVENTS of one account, a transaction for each BATCH of them."""
    ref = keys.account_ref(keys.environment_ref(environment_id), "u")
    now = datetime.now(UTC)

    def entry(number: int) -> StreamEntry:
        payload = UsagePayload(UUID(int=number + 1), "f", 1, UUID(int=1), None, f"key {number}", None)
        return StreamEntry((number, 0), ref, EntryKind.USAGE, AT + number, 9, 1_000, payload)

    for start in range(0, EVENTS, BATCH):

        async def work(tx: Transaction, start: int = start) -> None:
            [account] = await store.lock_accounts(tx, [(environment_id, "u")])
            posting = post_batch({ref: account}, [entry(start + step) for step in range(BATCH)], set())
            await store.insert_transactions(tx, posting.transactions, now)
            await store.make_usage_partitions(tx, [to_datetime(AT)])
            await store.insert_events(tx, posting.events, now)
            await store.add_usage(tx, posting.used)
            await store.update_blocks(tx, posting.changed_blocks.values())
            await store.update_accounts(tx, [account])

        await database.run(environment_id, work)


@pytest.fixture
async def one_account(tenant: Tenant, urls: DatabaseUrls) -> AsyncIterator[DatabaseUrls]:
    """A ledger whose one account has EVENTS events in few transactions."""
    account_id = await customer(tenant)
    now = datetime.now(UTC)
    early = datetime(2026, 1, 1, tzinfo=UTC)
    request = service.GrantRequest(10**12, "promo", 100, early, now + timedelta(days=9), paid=False, actor="test")
    database = await Database.open(urls.owner, "test", 1)
    try:
        await database.run(tenant.environment_id, lambda tx: service.grant(tx, account_id, request, now))
        await post_many(database, tenant.environment_id)
        yield urls
    finally:
        await database.close()


async def test_what_is_held_has_a_bound(one_account: DatabaseUrls, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of each table, however many events an account or a transaction has; who watches sees it come on."""
    page_rows, told = 100, list[Progress]()
    monkeypatch.setattr(evidence, "PAGE_ROWS", page_rows)
    report = await verify(one_account.owner, None, None, None, watch=told.append)
    assert shown(report) == []
    assert report.counts["events"] == EVENTS
    assert 0 < report.most_rows_held <= 6 * page_rows
    assert len(told) >= EVENTS // verifying.TOLD_EVERY - 1
    assert (told[-1].all_accounts, told[-1].all_events) == (1, EVENTS)
    assert [progress.events for progress in told] == sorted(progress.events for progress in told)
