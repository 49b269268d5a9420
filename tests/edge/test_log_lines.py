"""The edge's log: lines of one form, for the answers that LOG_REQUESTS names, with nothing in them that is secret."""

import asyncio
import logging
import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.embedded.valkey import EmbeddedValkey
from app.wire.redaction import Redactor
from edge.log_lines import JsonLines, fields
from edge.observing import MAX_LOGGED_PER_SECOND
from tests.edge.world import Answer, World, own_edge
from tests.waiting import wait_until, wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECONDS = 15
ALWAYS = {"time", "level", "event", "process", "pid"}
TRACE = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"


def lines(log: Path, event: str) -> list[dict[str, Any]]:
    """Lines of one event; every line of the log is read, and has what each must have."""
    found = [msgspec.json.decode(line) for line in log.read_text().splitlines()]
    assert all(line.keys() >= ALWAYS and line["process"] == "edge" for line in found)
    return [line for line in found if line["event"] == event]


async def test_every_answer_has_its_line(world: World, valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """With LOG_REQUESTS=all: under the id that the answer has, with its route, and no word of who it is about."""
    log = tmp_path / "edge.log"
    async with own_edge(world, valkey, log, workers=1, LOG_REQUESTS="all") as own:
        tenant = await own.tenant()
        await tenant.seed("secret-customer", 10)
        headers = {"X-Request-Id": "mine-1", "traceparent": TRACE}
        assert (await tenant.use("secret-customer", idempotency_key="secret-key", headers=headers)).status == 202
        refused = await tenant.use("secret-customer", "secret-feature")
        assert (await tenant.send("GET", "/secret-path")).status == 404
        wait_until(lambda: len(lines(log, "request")) >= 3, SECONDS, "three lines")
        used, unknown, nowhere = [line for line in lines(log, "request") if line["route"] != "/readyz"]
        assert (
            used.items()
            >= {
                "request_id": "mine-1",
                "method": "POST",
                "route": "/v1/usage",
                "status": 202,
                "trace_id": "ab" * 16,
                "level": "info",
            }.items()
        )
        assert 0 < used["elapsed_ms"] < 10_000
        assert "code" not in used
        assert (unknown["code"], unknown["request_id"]) == ("unknown_feature", refused.headers["X-Request-Id"])
        assert (nowhere["route"], nowhere["status"]) == ("none", 404)
        text = log.read_text()
        assert not [word for word in ("secret-", tenant.key, own.edge.environment["KEY_PEPPER"]) if word in text]


async def test_errors_have_their_lines_within_a_bound(world: World, own_valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """By default: what was answered with 503 can be found by the id in its problem; a flood of them is counted."""
    log = tmp_path / "edge.log"
    async with own_edge(world, own_valkey, log, workers=1) as own:
        tenant = await own.tenant()
        os.kill(own_valkey.pid, signal.SIGKILL)

        async def refused() -> Answer | None:
            answer = await tenant.check("user_1")
            return answer if answer.status == 503 else None

        answer = await wait_until_async(refused, SECONDS, "the loss is noticed")
        [line] = [line for line in lines(log, "request") if line["request_id"] == answer.body["instance"]]
        assert (line["status"], line["code"], line["level"]) == (503, "store_unavailable", "warning")
        assert answer.headers["X-Request-Id"] == line["request_id"]
        assert all(line["status"] >= 500 for line in lines(log, "request"))
        many = 5 * MAX_LOGGED_PER_SECOND
        await asyncio.gather(*(tenant.check("user_1") for _ in range(many)))
        wait_until(lambda: bool(lines(log, "requests not logged")), SECONDS, "what was left out to be told")
        assert len(lines(log, "request")) < many


async def test_no_answer_has_a_line(world: World, own_valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """With LOG_REQUESTS=none."""
    log = tmp_path / "edge.log"
    async with own_edge(world, own_valkey, log, workers=1, LOG_REQUESTS="none") as own:
        tenant = await own.tenant()
        os.kill(own_valkey.pid, signal.SIGKILL)

        async def is_refused() -> bool:
            return (await tenant.check("user_1")).status == 503

        await wait_until_async(is_refused, SECONDS, "the loss is noticed")
        assert lines(log, "request") == []


async def test_a_line_is_one_line() -> None:
    """Whatever is in it: line ends and quotes are escaped, what is no JSON is shown, and a fault has its traceback."""
    error = LookupError('two\nlines and a "quote"')
    record = logging.getLogger("a").makeRecord(
        *("a", logging.ERROR, __file__, 1, 'what "%s"\n', ("happened",), (LookupError, error, None)),
        extra=fields(request_id="x", path=Path("a")),
    )
    text = JsonLines(Redactor()).format(record)
    line = msgspec.json.decode(text)
    assert "\n" not in text
    assert (line["event"], line["level"]) == ('what "happened"\n', "error")
    assert (line["request_id"], line["path"]) == ("x", "a")
    assert line["exception"].endswith('LookupError: two\nlines and a "quote"')
