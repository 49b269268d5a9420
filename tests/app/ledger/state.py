"""What a refused request may not change, and what an accepted one may not break."""

from typing import Any

from app.ledger.verify import verify
from tests.app.core import Core, Tenant
from tests.conftest import DatabaseUrls


async def state(tenant: Tenant, end_user_id: str = "u") -> Any:
    """All that the API shows of a customer's credit: ledger, blocks, totals and top-ups."""
    credit = await tenant.sandbox.read(f"/v1/customers/{end_user_id}/credits")
    del credit["as_of"]
    ledger = await tenant.sandbox.read(f"/v1/customers/{end_user_id}/ledger")
    topups = await tenant.sandbox.read("/v1/topups", end_user_id=end_user_id)
    return credit, ledger, topups


async def assert_proved(core: Core, urls: DatabaseUrls) -> None:
    """`quotastack ledger verify` finds nothing."""
    report = await verify(urls.owner, core.parts.redis, None, None)
    assert report.findings == []
    assert report.counts["accounts"]
