"""CloudEvents, from the catalogue to the ledger, on core's address as on the edge's."""

import asyncio
import json
import os
import re
from asyncio.subprocess import PIPE
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.flow.stack import Stack, Tenant, drained

ONE = "application/cloudevents+json"
MANY = "application/cloudevents-batch+json"
GUIDE = (Path(__file__).parents[2] / "docs/cloudevents.md").read_text()


@pytest.mark.parametrize("hot", ["core", "edge"])
async def test_from_an_event_to_the_ledger(tenant: Tenant, hot: str) -> None:
    """Features read a type as soon as they are told to; one event, sent in three ways, is charged once for each."""
    core, client = tenant.core, getattr(tenant, hot)
    per_thousand = {"kind": "per_unit", "amount": 1, "per": 1000}
    reading = {"event_type": "llm.call", "units_from": "usage.total_tokens"}
    await core.created("/v1/features", {"key": "tokens", "name": "Tokens", "price": per_thousand, **reading})
    await core.created("/v1/features", {"key": "calls", "name": "Calls", "price": {"kind": "flat", "amount": 5}})
    await core.created("/v1/customers", {"end_user_id": "u"})
    await core.created("/v1/credits/grants", {"end_user_id": "u", "amount": 100})
    event = {
        "specversion": "1.0",
        "id": "call-1",
        "source": "gateway",
        "type": "llm.call",
        "subject": "u",
        "data": {"usage": {"total_tokens": "2500"}, "model": "m"},
    }
    one = await client.send("POST", "/v1/usage", data=json.dumps(event), headers={"Content-Type": ONE})
    assert (one.status, one.body["cost"], one.body["balance"]) == (HTTPStatus.ACCEPTED, 2.5, 97.5)

    changed = await core.send("PATCH", "/v1/features/calls", json={"event_type": "llm.call"})
    assert changed.status == HTTPStatus.OK, changed.body
    both = await client.send("POST", "/v1/usage", data=json.dumps([event]), headers={"Content-Type": MANY})
    shown = [(result["feature_key"], result["replayed"], result["balance"]) for result in both.body["results"]]
    assert shown == [("calls", False, 92.5), ("tokens", True, 97.5)]
    brief = await client.send("POST", "/api/v1/events", json=event)
    assert (brief.status, brief.raw, brief.headers["Idempotent-Replayed"]) == (HTTPStatus.NO_CONTENT, b"", "true")

    assert (await drained(core, "u"))["total"] == 92.5
    events = (await core.get("/v1/usage/events", end_user_id="u")).body["data"]
    assert {row["feature_key"]: (row["units"], row["idempotency_key"]) for row in events} == {
        "tokens": (2500, "gateway call-1"),
        "calls": (1, "gateway call-1"),
    }
    assert {one.body["event_id"], both.body["results"][0]["event_id"]} == {row["event_id"] for row in events}


async def test_the_guide_can_be_pasted(tenant: Tenant) -> None:
    """Its commands answer what stands below them; the event, sent again, is a replay."""
    await tenant.core.created("/v1/customers", {"end_user_id": "user_123"})
    block = next(block for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) if "curl" in block)
    names = {"CORE": tenant.core.base_url, "EDGE": tenant.edge.base_url, "KEY": tenant.sandbox_key}

    async def paste(commands: str) -> list[str]:
        shell = await asyncio.create_subprocess_exec(
            *("sh", "-euc", commands), env={"PATH": os.environ["PATH"], **names}, stdout=PIPE
        )
        output, _ = await shell.communicate()
        assert shell.returncode == 0
        return output.decode().splitlines()

    *statuses, results = await paste(block)
    *expected, shown = re.findall(r"^# (\d+|\{.*)$", block, re.MULTILINE)
    assert statuses == expected
    assert re.fullmatch(re.escape(shown).replace(r"\.\.\.", ".*"), results)
    (again,) = await paste(block[block.index("# 2.") :])
    assert [result["replayed"] for result in json.loads(again)["results"]] == [True, True]


async def test_the_ledger_is_proved(stack: Stack) -> None:
    """After everything above, verify finds nothing."""
    assert (await stack.verify()).findings == []
