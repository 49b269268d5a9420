"""The listener for probes and the collector, of a process that has no other."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.io import metrics
from app.io.metrics import MisnamedMetric
from app.io.probes import open_probes
from app.io.readiness import OK, Check, Part, Report, examine
from app.io.redis import RedisUnavailable
from app.settings import FlusherSettings, SettingsError
from tests.ports import free_port

TOKEN = "t" * 40
GOOD = Report("ready", {"turns": OK})
BAD = Report("unavailable", {"turns": Part("failing", "None goes well.")})


def settings(metrics_token: str | None) -> FlusherSettings:
    """Of a process that reaches nothing."""
    return FlusherSettings(redis_url="redis://x", flusher_database_url="postgres://x", metrics_token=metrics_token)


@asynccontextmanager
async def probed(report: Report, metrics_token: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the listener of a process that says this of itself."""
    port = free_port()

    async def ready() -> Report:
        return report

    async with (
        open_probes(settings(metrics_token), port, ready),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        yield client


async def test_it_lives_and_is_ready() -> None:
    """What a probe asks is answered part by part."""
    async with probed(GOOD) as client:
        assert (await client.get("/livez")).json() == {"status": "alive"}
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ready", "parts": {"turns": {"status": "ok"}}})


async def test_what_cannot_work_says_why() -> None:
    """503 with a problem document that names the part; it lives all the same."""
    async with probed(BAD) as client:
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "store_unavailable"
        assert answer.json()["detail"] == "turns: None goes well."
        assert answer.json()["context"]["parts"]["turns"]["status"] == "failing"
        assert (await client.get("/livez")).status_code == 200


async def test_figures_are_for_whom_they_are() -> None:
    """Our own machine has them, unless it speaks for another; where there is a token, who has that."""
    async with probed(GOOD) as client:
        answer = await client.get("/metrics")
        assert answer.headers["content-type"] == metrics.CONTENT_TYPE
        assert {"process_resident_memory_bytes"} <= {one.name for one in text_string_to_metric_families(answer.text)}
        refused = await client.get("/metrics", headers={"x-forwarded-for": "1.2.3.4"})
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
    async with probed(GOOD, TOKEN) as client:
        assert (await client.get("/metrics")).status_code == 401
        assert (await client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("POST", "/metrics"), ("GET", "/v1/features"), ("PUT", "/")]
)
async def test_there_is_nothing_else(method: str, path: str) -> None:
    """And that is said in a problem document too."""
    async with probed(GOOD) as client:
        answer = await client.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_taken_port_is_said() -> None:
    """The process does not run on without anybody to look at it; port 0 asks for no listener."""

    async def ready() -> Report:
        return GOOD

    port = free_port()
    async with open_probes(settings(None), port, ready), open_probes(settings(None), 0, ready):
        with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with open_probes(settings(None), port, ready):
                pass


async def _well() -> Part:
    return OK


async def _slow() -> Part:
    return Part("degraded", "Slow.")


async def _away() -> Part:
    raise RedisUnavailable


@pytest.mark.parametrize(
    ("checks", "status"),
    [
        ({"a": _well}, "ready"),
        ({"a": _well, "b": _slow}, "degraded"),
        ({"a": _away, "b": _slow}, "unavailable"),
    ],
)
async def test_the_worst_part_decides(checks: dict[str, object], status: str) -> None:
    """Whatever the others say; what a store failed with is not shown."""
    report = await examine({name: Check(look, "Away.") for name, look in checks.items()})  # type: ignore[arg-type]
    assert report.status == status
    assert all(part.status == "ok" or part.detail in {"Slow.", "Away."} for part in report.parts.values())


@pytest.mark.parametrize("name", ["edge_requests_total", "quotastack_requests"])
def test_a_misnamed_metric_is_refused(name: str) -> None:
    """A name begins with the product and ends in its unit."""
    with pytest.raises(MisnamedMetric):
        metrics.counter(name, "Some.")
