"""Whoever may do anything to the database changes one row: verify finds it, and names it."""
# ruff: noqa: S608 - the statements are those of this file

import asyncio

import pytest
from msgspec.structs import asdict

from app.embedded.postgres import SUPERUSER, EmbeddedPostgres
from tests.app.ledger.proved import Proved, shown, superuser, verified
from tests.app.schema.catalogue import connected
from tests.conftest import DatabaseUrls

OF_ADA = "WHERE account_id = '{ada}' AND seq = 3"
TRANSACTION = "ledger_transactions {ada} seq 3"
LINES = "ledger_lines {ada} seq 3"
EVENT = "usage_events {event}"
BLOCK = "credit_blocks {block}"
HELD, OPEN = "reservations {held}", "reservations {open}"
OPENED, OPENED_LINES, ENDED = (
    "ledger_transactions {eve} seq 2",
    "ledger_lines {eve} seq 2",
    "ledger_transactions {eve} seq 3",
)
REOPENED = "state = 'open', used_micro = 0, ended_at = NULL, ended_seq = NULL"
PERIOD = "2026-02-01T00:00:00+00:00"
COUNTER_OF_ADA = "usage_counters {ada} calls " + PERIOD
CHECKPOINT = "ledger_checkpoints {environment} 2026-02-01"
HASH = "decode(repeat('ab', 32), 'hex')"
COLUMNS = "environment_id, account_id, seq, line, account_name, amount_micro"
EVENT_COLUMNS = (
    "account_id, seq, feature_key, units_micro, cost_micro, debt_micro, draws, price_id, idempotency_key, properties, "
    "occurred_at, accepted_at, recorded_at"
)
TRANSACTION_COLUMNS = (
    "kind, actor, reason, idempotency_key, total_before_micro, total_after_micro, events_digest, posted_at, "
    "recorded_at, previous_hash, hash"
)

TAMPERINGS = [
    # ledger_lines
    (f"UPDATE ledger_lines SET amount_micro = amount_micro + 1 {OF_ADA} AND line = 0", 1, LINES),
    (f"UPDATE ledger_lines SET account_name = 'consumed:other' {OF_ADA} AND line = 1", 9, TRANSACTION),
    (f"UPDATE ledger_lines SET seq = 99 {OF_ADA} AND line = 0", 2, "ledger_lines {ada} seq 99 line 0"),
    (f"UPDATE ledger_lines SET amount_micro = 9223372036854775807 {OF_ADA}", 1, LINES),
    (f"DELETE FROM ledger_lines {OF_ADA} AND line = 0", 1, LINES),
    (f"DELETE FROM ledger_lines {OF_ADA}", 7, LINES),
    (
        (
            f"INSERT INTO ledger_lines ({COLUMNS}) SELECT environment_id, account_id, seq, line + 7, account_name, "
            f"amount_micro FROM ledger_lines {OF_ADA}"
        ),
        9,
        TRANSACTION,
    ),
    # ledger_transactions
    (f"UPDATE ledger_transactions SET posted_at = posted_at + interval '1 microsecond' {OF_ADA}", 9, TRANSACTION),
    (f"UPDATE ledger_transactions SET actor = 'nobody' {OF_ADA}", 9, TRANSACTION),
    (f"UPDATE ledger_transactions SET id = gen_random_uuid() {OF_ADA}", 9, TRANSACTION),
    (f"UPDATE ledger_transactions SET total_after_micro = 0 {OF_ADA}", 11, TRANSACTION),
    (f"UPDATE ledger_transactions SET hash = {HASH} {OF_ADA}", 9, TRANSACTION),
    (f"DELETE FROM ledger_transactions {OF_ADA}", 10, "ledger_transactions {ada} seq 4"),
    (f"DELETE FROM ledger_transactions {OF_ADA}", 7, EVENT),
    (
        "INSERT INTO ledger_transactions (environment_id, account_id, seq, id, " + TRANSACTION_COLUMNS + ") SELECT "
        f"environment_id, account_id, 98, gen_random_uuid(), {TRANSACTION_COLUMNS} FROM ledger_transactions {OF_ADA}",
        10,
        "ledger_transactions {ada} seq 98",
    ),
    # usage_events
    ("UPDATE usage_events SET cost_micro = cost_micro + 1 WHERE id = '{event}'", 7, EVENT),
    ("UPDATE usage_events SET units_micro = units_micro + 1 WHERE id = '{event}'", 9, TRANSACTION),
    ("UPDATE usage_events SET properties = '{{}}' WHERE id = '{event}'", 9, TRANSACTION),
    ("UPDATE usage_events SET idempotency_key = 'other' WHERE id = '{event}'", 9, TRANSACTION),
    ("UPDATE usage_events SET draws = '' WHERE id = '{event}'", 7, EVENT),
    ("UPDATE usage_events SET draws = replace(draws, '{block}', '{bob}') WHERE id = '{event}'", 7, EVENT),
    ("UPDATE usage_events SET account_id = '{bob}', seq = 77 WHERE id = '{event}'", 7, EVENT),
    ("DELETE FROM usage_events WHERE id = '{event}'", 9, TRANSACTION),
    (
        (
            f"INSERT INTO usage_events (environment_id, id, {EVENT_COLUMNS}) SELECT environment_id, '{{bob}}', "
            f"{EVENT_COLUMNS} FROM usage_events WHERE id = '{{event}}'"
        ),
        9,
        TRANSACTION,
    ),
    # credit_blocks
    ("UPDATE credit_blocks SET remaining_micro = 1, live = true WHERE id = '{block}'", 4, BLOCK),
    ("UPDATE credit_blocks SET granted_micro = granted_micro + 1 WHERE id = '{block}'", 4, BLOCK),
    ("UPDATE credit_blocks SET effective_at = now() WHERE id = '{block}'", 23, EVENT),
    ("UPDATE credit_blocks SET account_id = '{bob}' WHERE id = '{block}'", 4, BLOCK),
    ("DELETE FROM credit_blocks WHERE id = '{block}'", 4, BLOCK),
    (
        (
            "INSERT INTO credit_blocks SELECT environment_id, '{event}', account_id, source, granted_micro, "
            "granted_micro, true, priority, paid, known_revision, effective_at, expires_at, granted_at "
            "FROM credit_blocks WHERE id = '{block}'"
        ),
        4,
        "credit_blocks {event}",
    ),
    # accounts
    ("UPDATE accounts SET total_micro = total_micro + 1 WHERE id = '{ada}'", 13, "accounts {ada}"),
    ("UPDATE accounts SET debt_micro = debt_micro + 1 WHERE id = '{ada}'", 3, "accounts {ada}"),
    ("UPDATE accounts SET seq = seq + 1 WHERE id = '{ada}'", 10, "accounts {ada}"),
    (f"UPDATE accounts SET head_hash = {HASH} WHERE id = '{{ada}}'", 9, "accounts {ada}"),
    ("DELETE FROM accounts WHERE id = '{ada}'", 2, TRANSACTION),
    # reservations
    ("UPDATE reservations SET reserved_micro = reserved_micro + 1 WHERE id = '{held}'", 28, OPENED_LINES),
    ("UPDATE reservations SET reserved_micro = reserved_micro + 1 WHERE id = '{held}'", 9, OPENED),
    ("UPDATE reservations SET units_micro = units_micro + 1 WHERE id = '{held}'", 9, OPENED),
    ("UPDATE reservations SET properties = '{{}}' WHERE id = '{held}'", 9, OPENED),
    ("UPDATE reservations SET draws = '' WHERE id = '{held}'", 28, HELD),
    ("UPDATE reservations SET draws = replace(draws, ',10', ',9') WHERE id = '{held}'", 28, OPENED_LINES),
    ("UPDATE reservations SET state = 'released', used_micro = 0 WHERE id = '{held}'", 29, HELD),
    ("UPDATE reservations SET used_micro = used_micro + 1 WHERE id = '{held}'", 30, HELD),
    ("UPDATE reservations SET ended_at = ended_at + interval '1 hour' WHERE id = '{held}'", 29, HELD),
    ("UPDATE reservations SET ended_seq = 77 WHERE id = '{held}'", 29, HELD),
    (f"UPDATE reservations SET {REOPENED} WHERE id = '{{held}}'", 28, "accounts {eve}"),
    (f"UPDATE reservations SET {REOPENED} WHERE id = '{{held}}'", 29, ENDED),
    ("UPDATE reservations SET state = 'expired', ended_at = now(), ended_seq = 5 WHERE id = '{open}'", 29, OPEN),
    ("UPDATE reservations SET opened_seq = 1 WHERE id = '{open}'", 28, "ledger_transactions {eve} seq 4"),
    ("UPDATE reservations SET account_id = '{bob}', opened_seq = 77 WHERE id = '{open}'", 28, OPEN),
    ("DELETE FROM reservations WHERE id = '{held}'", 28, OPENED),
    ("UPDATE accounts SET reserved_micro = reserved_micro + 1 WHERE id = '{eve}'", 28, "accounts {eve}"),
    ("UPDATE accounts SET open_reservations = 0 WHERE id = '{eve}'", 28, "accounts {eve}"),
    (
        "UPDATE ledger_lines SET account_name = 'expired' WHERE account_name = 'reserved:{held}' AND seq = 2",
        28,
        OPENED_LINES,
    ),
    (
        "UPDATE ledger_lines SET account_name = 'expired' WHERE account_id = '{eve}' AND amount_micro = 3000000",
        30,
        "ledger_lines {eve} seq 3",
    ),
    ("DELETE FROM usage_events WHERE id = '{held}'", 30, HELD),
    # usage_counters
    (f"INSERT INTO usage_counters VALUES ('{{environment}}', '{{ada}}', '{PERIOD}', 'calls', 1)", 66, COUNTER_OF_ADA),
    (f"UPDATE usage_events SET period_at = '{PERIOD}' WHERE id = '{{event}}'", 66, COUNTER_OF_ADA),
    (
        f"UPDATE reservations SET period_at = '{PERIOD}' WHERE id = '{{open}}'",
        66,
        "usage_counters {eve} calls " + PERIOD,
    ),
    # checkpoints
    ("UPDATE ledger_checkpoints SET taken_at = now() WHERE day = '2026-02-01'", 9, CHECKPOINT),
    ("UPDATE ledger_checkpoints SET transactions = transactions + 1 WHERE day = '2026-02-01'", 9, CHECKPOINT),
    (f"UPDATE ledger_checkpoints SET hash = {HASH} WHERE day = '2026-02-01'", 9, CHECKPOINT),
    ("DELETE FROM ledger_checkpoints WHERE day = '2026-02-01'", 9, "ledger_checkpoints {environment} 2026-02-02"),
    (f"UPDATE ledger_checkpoint_heads SET hash = {HASH} WHERE day = '2026-02-01'", 9, CHECKPOINT),
    ("DELETE FROM ledger_checkpoint_heads WHERE day = '2026-02-01' AND account_id = '{bob}'", 9, CHECKPOINT),
    (
        f"INSERT INTO ledger_checkpoint_heads VALUES ('{{environment}}', '{{bob}}', 66, '2026-02-01', {HASH})",
        9,
        "ledger_checkpoint_heads {bob} seq 66",
    ),
    # what guards them
    ("ALTER TABLE ledger_lines DROP CONSTRAINT ledger_lines_pkey", 14, "ledger_lines"),
]


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_one_row_is_found_and_named(
    postgres: EmbeddedPostgres, copy: DatabaseUrls, proved: Proved, tampering: tuple[str, int, str]
) -> None:
    """By the invariant that it breaks, and by the row."""
    statement, invariant, row = tampering
    assert verified(copy).findings == []
    named = {name: str(value) for name, value in asdict(proved).items()}

    async def tamper() -> None:
        async with superuser(postgres, copy) as connection:
            assert await connection.execute(statement.format(**named)) not in {"UPDATE 0", "DELETE 0", "INSERT 0 0"}

    asyncio.run(tamper())
    assert (invariant, row.format(**named)) in shown(verified(copy))


@pytest.mark.parametrize("table", ["usage_events", "ledger_lines", "ledger_checkpoints"])
def test_a_table_that_may_be_changed_is_found(postgres: EmbeddedPostgres, copy: DatabaseUrls, table: str) -> None:
    """8: also where nothing was changed yet."""

    async def unguard() -> None:
        async with connected(postgres.url(SUPERUSER, copy.name)) as connection:
            await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER written_once")

    asyncio.run(unguard())
    assert shown(verified(copy)) == [(8, table)]
