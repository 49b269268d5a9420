"""Requests that may be read in two ways are refused before anything else looks at them."""

import pytest

from app.wire.codes import Code
from tests.app.core import Tenant
from tests.app.web.test_problems import assert_problem

TWICE = ["authorization", "x-api-key", "idempotency-key", "content-type", "content-length", "host"]


@pytest.mark.parametrize("name", TWICE)
async def test_headers_that_stand_for_one_value(tenant: Tenant, name: str) -> None:
    """Sent twice they are refused, even where the two are equal, and the connection ends."""
    answer = await tenant.sandbox.http.get("/v1/features", headers=[(name, "a"), (name, "a")])
    assert_problem(answer, Code.MALFORMED_REQUEST)
    assert answer.headers["connection"] == "close"
    assert f"The header {name} came more than once" in answer.json()["detail"]


@pytest.mark.parametrize("coding", ["gzip", "gzip, chunked", "identity, chunked", "chunked, chunked", ",chunked", ""])
async def test_codings(tenant: Tenant, coding: str) -> None:
    """A body is chunked or has a length; nothing else would be undone here."""
    answer = await tenant.sandbox.http.post("/v1/features", headers={"transfer-encoding": coding})
    assert_problem(answer, Code.MALFORMED_REQUEST)


async def test_chunks_are_read(tenant: Tenant) -> None:
    """In whatever letters they are announced."""
    answer = await tenant.sandbox.send("GET", "/v1/features", headers={"transfer-encoding": "Chunked"})
    assert answer.status_code == 200
