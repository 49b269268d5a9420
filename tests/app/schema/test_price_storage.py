"""What 0011_prices carries over: snapshots of the form before it."""

import json
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from app.rules.entitlement import OveragePolicy
from app.rules.pricing import FlatPrice, PerUnitPrice, always
from app.wire.snapshot import FeatureTerms, PlanSnapshot, decode_plan
from tests.app.schema.catalogue import connected
from tests.app.schema.test_usage_storage import migrate_to
from tests.conftest import DatabaseUrls

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PRICE_ID = UUID(int=7)
ACCOUNTS = ("a", "b", "c")
ACCOUNT = """
    INSERT INTO accounts (environment_id, id, end_user_id, revision, seq, total_micro, debt_micro, applied_micro,
                          posted_at, head_hash, snapshot_id, subscription_status, created_at)
    VALUES ($1, $2, $3, 5, 0, 0, 0, 0, $4, $5, $6, 'none', $4)
"""


def old_content(environment_id: UUID, amount_micro: int) -> bytes:
    """A snapshot as it was written before."""
    per_unit = {"kind": "per_unit", "amount_micro": amount_micro, "per": 7}
    flat = {"kind": "flat", "amount_micro": 3}
    features = {
        "flat": {"price": flat, "price_id": str(PRICE_ID), "included": True},
        "none": {"price": None, "price_id": None, "included": False},
        "tokens": {"price": per_unit, "price_id": str(PRICE_ID), "included": True, "overage_policy": "notify"},
    }
    return json.dumps({"environment_id": str(environment_id), "subscribed": True, "features": features}).encode()


async def test_accounts_have_snapshots_of_the_new_form(
    empty_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They say what the old ones said, each account names its own, and all are marked to be published."""
    await migrate_to(empty_urls, "0007_block_terms", monkeypatch)
    environment_id, tenant_id = uuid4(), uuid4()
    async with connected(empty_urls.owner) as connection:
        await connection.execute("INSERT INTO tenants VALUES ($1, 'acme', $2)", tenant_id, NOW)
        await connection.execute("INSERT INTO environments VALUES ($1, $2, 'live', $3)", environment_id, tenant_id, NOW)
        contents = [old_content(environment_id, 1), old_content(environment_id, 2), b"an orphan, which nobody reads"]
        for name, content in zip(("s1", "s2", "s3"), contents, strict=True):
            await connection.execute(
                "INSERT INTO snapshots VALUES ($1, $2, $3, $4)", environment_id, name, content, NOW
            )
        for end_user_id, snapshot_id in zip(ACCOUNTS, ("s1", "s2", "s2"), strict=True):
            customer = (environment_id, uuid4(), end_user_id, NOW)
            await connection.execute(
                "INSERT INTO customers (environment_id, id, end_user_id, created_at) VALUES ($1, $2, $3, $4)", *customer
            )
            await connection.execute(ACCOUNT, *customer, bytes(32), snapshot_id)
    await migrate_to(empty_urls, "0011_prices", monkeypatch)
    async with connected(empty_urls.owner) as connection:
        rows = await connection.fetch(
            "SELECT end_user_id, snapshot_id, content, a.revision AS raised, d.revision FROM accounts a "
            "JOIN snapshots s ON s.id = a.snapshot_id JOIN dirty_accounts d ON d.account_id = a.id ORDER BY end_user_id"
        )
    assert [(row["end_user_id"], row["raised"], row["revision"]) for row in rows] == [(name, 6, 6) for name in ACCOUNTS]
    assert rows[1]["snapshot_id"] == rows[2]["snapshot_id"] != rows[0]["snapshot_id"]
    for row, amount_micro in zip(rows, (1, 2, 2), strict=True):
        per_unit = always(PRICE_ID, PerUnitPrice(amount_micro, 7))
        features = {
            "flat": FeatureTerms(always(PRICE_ID, FlatPrice(3)), included=True),
            "none": FeatureTerms([], included=False),
            "tokens": FeatureTerms(per_unit, included=True, overage_policy=OveragePolicy.NOTIFY),
        }
        assert decode_plan(row["content"]) == PlanSnapshot(environment_id, subscribed=True, features=features)
