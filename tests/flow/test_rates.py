"""Rate limits through the whole product: core and edge count together, and each request once."""

from pathlib import Path

from app.wire.rates import RateLimits
from tests.flow.stack import Answer, Tenant, open_session, running_stack
from tests.windows import within_one_window
from tests.wire.rate_models import read_list

HOUR = RateLimits(1_000, 18, 3_600)
"""So few that each is counted by itself."""
CHECK = {"end_user_id": "u", "feature_key": "api_calls"}


def left(answer: Answer) -> int:
    """Of the environment, as the answer says."""
    return read_list(answer.headers["RateLimit"])["tenant"]["r"]


async def count_down(tenant: Tenant) -> list[Answer]:
    """Core's own routes, hot routes on core's address, and hot routes on the edge's, by turns."""
    answers = [await tenant.core.post("/v1/features", {"key": "api_calls", "name": "API calls"})]
    answers += [await tenant.core.post("/v1/customers", {"end_user_id": "u"})]
    for client in (tenant.core, tenant.edge) * 5:
        answers += [await client.get("/v1/entitlements/check", **CHECK), await tenant.core.get("/v1/features")]
    return answers


async def test_core_and_edge_count_together(tmp_path: Path) -> None:
    """Whoever is asked, each request takes one of what the environment has; then both refuse."""
    limits = {"RATE_LIMIT_TENANT_REQUESTS": "18", "RATE_LIMIT_WINDOW_SECONDS": "3600", "EDGE_WORKERS": "2"}
    async with running_stack(tmp_path, None, **limits) as stack, open_session() as session:

        async def spend() -> list[Answer]:
            return await count_down(await stack.tenant(session))

        answers = await within_one_window(HOUR, spend)
    assert [answer.status for answer in answers] == [201, 201, *[200] * 16, *[429] * 4]
    assert [left(answer) for answer in answers] == [*range(17, -1, -1), 0, 0, 0, 0]
    for answer in answers[18:]:
        assert answer.body["code"] == "too_many_requests"
        assert 1 <= int(answer.headers["Retry-After"]) <= 3_600
