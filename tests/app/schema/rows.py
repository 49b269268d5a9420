"""A row in every table below `environments`, written by the owner."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HASH = bytes(32)
_HOUR = {"feature_key": "f", "hour_at": NOW, "units_micro": 1, "cost_micro": 1, "events": 1}
_CHANGE = {"number": 1, "at": NOW, "action": "start", "state_after": "active", "actor": "a"}
_HOLD = {"feature_key": "f", "holder": "h", "units": 1, "changed_at": NOW}
_TEXTS = {"set_aside": "[]", "used_before": "[]", "rules": "{}"}


async def fill(connection: asyncpg.Connection, digest: bytes) -> UUID:
    """An environment that has a row in every table; its id."""
    environment_id, tenant_id = uuid4(), uuid4()
    await connection.execute("INSERT INTO tenants VALUES ($1, 'acme', $2)", tenant_id, NOW)
    await connection.execute("INSERT INTO environments VALUES ($1, $2, 'sandbox', $3)", environment_id, tenant_id, NOW)
    await connection.execute("SELECT make_usage_partition($1)", NOW)
    for table, row in (("test_clocks", {"frozen_at": NOW, "created_at": NOW}), *rows(digest)):
        columns = ["environment_id", *row]
        places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
        statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608 - names from this file
        await connection.execute(statement, environment_id, *row.values())
    return environment_id


def rows(digest: bytes) -> Iterator[tuple[str, dict[str, Any]]]:  # noqa: PLR0915 - a few for each table
    """(table, its columns) of each, in an order in which they can be written."""
    customer, feature, plan, variant, version, block, event_id = (uuid4() for _ in range(7))
    interval = {"interval_unit": "month", "interval_count": 1}
    made = {"created_at": NOW}
    yield "api_keys", {"id": uuid4(), "digest": digest, "display_prefix": "qs_live_abcd", "scopes": ["admin"], **made}
    yield "customers", {"id": customer, "end_user_id": "u", **made}
    yield "features", {"id": feature, "key": "f", "name": "F", "kind": "metered", **made}
    yield "prices", {"id": uuid4(), "feature_id": feature, "version": 1, "price": "{}", "effective_at": NOW, **made}
    yield "plans", {"id": plan, "key": "p", "name": "P", **made}
    yield "plan_variants", {"id": variant, "plan_id": plan, "key": "v", **made}
    version_row = {"id": version, "variant_id": variant, "version": 1, **interval, "overage_policy": "block"}
    yield "plan_variant_versions", {**version_row, **made}
    yield "plan_grants", {"id": uuid4(), "variant_version_id": version, "key": "1", "amount_micro": 1, **interval}
    yield "plan_features", {"variant_version_id": version, "feature_id": feature}
    own = {"included": True, "sets_limit": False, "updated_at": NOW}
    yield "environment_settings", {"auto_enroll": False, "thresholds": "[]", "updated_at": NOW}
    yield "overrides", {"customer_id": customer, "feature_id": feature, **own}
    period = {"anchor_at": NOW, "period_start_at": NOW, "period_end_at": NOW.replace(year=2027)}
    of = {"customer_id": customer, "variant_id": variant, "variant_version_id": version}
    subscription = uuid4()
    kept = {"plan_kind": "base", "is_free": False, "period_index": 0, "changes": 1, "updated_at": NOW}
    yield "subscriptions", {"id": subscription, **of, "state": "active", **period, **made, **kept, **_TEXTS}
    yield "subscription_history", {"subscription_id": subscription, "version_after": version, **_CHANGE}
    yield "snapshots", {"id": "s", "content": b"{}", **made}
    figures = dict.fromkeys(("revision", "seq", "total_micro", "debt_micro", "applied_micro"), 1)
    account = {"end_user_id": "u", "posted_at": NOW, "head_hash": HASH, "subscription_status": "active"}
    yield "accounts", {"id": customer, **figures, **account, **made}
    amounts = {"granted_micro": 1, "remaining_micro": 1, "live": True, "priority": 1, "paid": False}
    moments = {"known_revision": 1, "effective_at": NOW, "granted_at": NOW}
    yield "credit_blocks", {"id": block, "account_id": customer, "source": "promo", **amounts, **moments}
    package, sold = uuid4(), {"amount_micro": 1, "price_paid": 1, "currency": "EUR", "priority": 1}
    yield "topup_packages", {"id": package, "key": "k", "name": "K", **sold, "active": True, **made}
    bought = {"account_id": customer, "package_id": package, "block_id": block, "payment_reference": "r"}
    yield "topups", {"id": uuid4(), **bought, **sold, **made}
    posted = {"account_id": customer, "seq": 1}
    steps = {"kind": "grant", "actor": "a", "total_before_micro": 0, "total_after_micro": 1}
    chain = {"posted_at": NOW, "recorded_at": NOW, "previous_hash": HASH, "hash": HASH}
    yield "ledger_transactions", {**posted, "id": uuid4(), **steps, **chain}
    yield "ledger_lines", {**posted, "line": 0, "account_name": "expired", "amount_micro": 1}
    yield "ledger_checkpoint_heads", {**posted, "day": NOW.date(), "hash": HASH}
    sums = {"accounts": 1, "transactions": 1, "digest": HASH, "previous_hash": HASH, "hash": HASH}
    yield "ledger_checkpoints", {"day": NOW.date(), "taken_at": NOW, **sums}
    event = {"feature_key": "f", "units_micro": 1, "cost_micro": 1, "debt_micro": 0, "draws": "", "price_id": uuid4()}
    times = {"occurred_at": NOW, "accepted_at": NOW, "recorded_at": NOW}
    yield "usage_event_keys", {"id": event_id, **posted, "accepted_at": NOW}
    yield "usage_events", {"id": event_id, **posted, **event, **times}
    yield "usage_hours", {**_HOUR, "account_id": customer}
    yield "usage_counters", {"account_id": customer, "feature_key": "f", "period_at": NOW, "units_micro": 1}
    order = {"id": uuid4(), "account_id": customer, "kind": "debit", "amount_micro": 0, "seq": 1, "digest": HASH}
    yield "ledger_orders", {**order, "recorded_at": NOW}
    held = {"reserved_micro": 1, "opened_at": NOW, "opened_seq": 1, "expires_at": NOW, "state": "open", "used_micro": 0}
    said = {key: event[key] for key in ("feature_key", "units_micro", "debt_micro", "draws", "price_id")}
    yield "reservations", {"id": uuid4(), "account_id": customer, "in_credits": False, **said, **held}
    yield from _rows_beside(customer)


def _rows_beside(customer: UUID) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is kept beside catalogue and ledger."""
    rejected = {"id": uuid4(), "end_user_id": "u", "stream_id": "1-1", "code": "c", "detail": "d", "entry": b""}
    yield "rejected_events", {**rejected, "recorded_at": NOW}
    yield "gauge_holds", {**_HOLD, "account_id": customer}
    yield "dirty_accounts", {"account_id": customer, "revision": 1}
    yield "drifting_accounts", {"account_id": customer, "findings": "f", "found_at": NOW}
    yield from _trail()


def _trail() -> Iterator[tuple[str, dict[str, Any]]]:
    made = {"created_at": NOW}
    event, endpoint, delivery = uuid4(), uuid4(), uuid4()
    yield "outbox", {"id": event, "type": "t", "sequence": 1, "data": "{}", **made}
    yield "outbox_heads", {"end_user_id": "", "last_sequence": 1}
    yield "event_feeds", {"last_position": 1}
    where = {"url": "https://a.test", "description": "", "enabled": True, "secret_version": 1, "updated_at": NOW}
    yield "webhook_endpoints", {"id": endpoint, **where, **made}
    sent = {"event_id": event, "place": 1, "state": "pending", "attempts": 0, "attempts_before": 0}
    queue = {"endpoint_id": endpoint, "end_user_id": "u"}
    yield "webhook_deliveries", {"id": delivery, **queue, **sent, **made}
    yield "webhook_queues", {**queue, "waiting": 1, "due_at": NOW}
    yield "webhook_attempts", {"delivery_id": delivery, "number": 1, "at": NOW, "elapsed_ms": 1}
    yield "webhook_replays", {"id": uuid4(), "endpoint_id": endpoint, "next_position": 1, "last_position": 1, **made}
    yield "idempotency_keys", {"route": "POST /", "key": "k", "request": "{}", "created_at": NOW}
    done = {"actor": "a", "request_id": "r", "route": "POST /", "status": 201}
    yield "audit_log", {"id": uuid4(), "at": NOW, **done, "request": "{}"}
