"""What ends by itself ends on time, whoever is running."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path

from tests.flow.stack import Tenant, make_catalogue, open_session, running_stack
from tests.waiting import wait_until_async


async def grant_for(tenant: Tenant, end_user_id: str, span: timedelta) -> datetime:
    """100 credits that expire after `span`; when they do."""
    expires_at = datetime.now(UTC) + span
    body = {"end_user_id": end_user_id, "amount": 100, "expires_at": expires_at.isoformat()}
    await tenant.core.created("/v1/credits/grants", body)
    return expires_at


async def passed(moment: datetime) -> None:
    """Wait for a moment to pass."""

    async def is_past() -> bool:
        return datetime.now(UTC) > moment

    await wait_until_async(is_past, 30, f"{moment} to pass")


async def test_an_expired_block_is_not_spendable_while_jobs_is_stopped(tmp_path: Path) -> None:
    """One moment after its end nothing can be spent from a block, and the account answers again once that is posted."""
    async with running_stack(tmp_path) as stack, open_session() as session:
        await stack.stop("jobs")
        tenant = await stack.tenant(session)
        await make_catalogue(tenant.core)
        await tenant.core.created("/v1/customers", {"end_user_id": "brief"})
        expires_at = await grant_for(tenant, "brief", timedelta(seconds=2))
        spend = {"end_user_id": "brief", "feature_key": "api_calls", "units": 10, "enforce": True}
        assert (await tenant.edge.post("/v1/usage", spend)).status == HTTPStatus.ACCEPTED
        await passed(expires_at)
        refused = await tenant.edge.post("/v1/usage", spend)
        assert (refused.status, refused.body["code"]) == (HTTPStatus.PAYMENT_REQUIRED, "insufficient_credits")
        check = await tenant.edge.get("/v1/entitlements/check", end_user_id="brief", feature_key="api_calls")
        assert (check.body["allowed"], check.body["balance"]) == (False, 0)
        report = await stack.verify()
        assert report.findings == []
        assert report.counts["expired_micro"] == 90_000_000


async def test_without_a_flusher_a_boundary_is_a_wait_and_not_a_guess(tmp_path: Path) -> None:
    """With the flusher gone the account answers 503 after its boundary; as soon as one is back it answers again."""
    async with running_stack(tmp_path) as stack, open_session() as session:
        await stack.stop("jobs")
        tenant = await stack.tenant(session)
        await make_catalogue(tenant.core)
        await tenant.core.created("/v1/customers", {"end_user_id": "held"})
        expires_at = await grant_for(tenant, "held", timedelta(seconds=2))
        await stack.stop("flusher")
        await passed(expires_at)
        check = await tenant.edge.get("/v1/entitlements/check", end_user_id="held", feature_key="api_calls")
        assert (check.status, check.body["code"]) == (HTTPStatus.SERVICE_UNAVAILABLE, "account_unavailable")
        assert check.headers["Retry-After"] == "1"
        stack.start("flusher")

        async def answers() -> bool:
            answer = await tenant.edge.get("/v1/entitlements/check", end_user_id="held", feature_key="api_calls")
            return answer.status == HTTPStatus.OK and not answer.body["allowed"]

        await wait_until_async(answers, 20, "the account to answer again")


async def test_jobs_posts_what_is_due_where_nobody_looks(tmp_path: Path) -> None:
    """An account that nobody touches, and that is not even loaded, has its block expired all the same."""
    async with running_stack(tmp_path) as stack, open_session() as session:
        tenant = await stack.tenant(session)
        await tenant.core.created("/v1/customers", {"end_user_id": "idle"})
        await grant_for(tenant, "idle", timedelta(seconds=1))
        redis = await stack.redis()
        assert await redis.client.delete(*[key async for key in redis.client.scan_iter("*:acct:*idle")]) == 1
        await redis.close()

        async def is_expired() -> bool:
            entries = await tenant.core.get("/v1/customers/idle/ledger")
            return [entry["kind"] for entry in entries.body["data"]].count("expiry") == 1

        await wait_until_async(is_expired, 20, "the block to be expired in the ledger")
