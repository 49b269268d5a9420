"""One key, one effect, one answer, one row of the audit log: of every route that changes something, by its example."""
# ruff: noqa: S608 - the names of tables come from the catalogue

import asyncio
from typing import Any

import httpx
import msgspec
import pytest

from app.trail import store
from app.wire.codes import Code
from tests.app.core import Client, Core
from tests.app.schema.catalogue import connected, tenant_tables
from tests.app.subscriptions.studio import Studio
from tests.app.trail.examples import EXAMPLES, Call, Example, wait_for_event
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls

pytestmark = pytest.mark.usefixtures("flusher")
TWINS = 4
LEFT_OUT = {"dirty_accounts", "snapshots"}
"""What is published, and when, has no bearing on what has happened."""


async def begin(core: Core, urls: DatabaseUrls, example: Example) -> tuple[Studio, Client, Call]:
    """A new environment in which the example can be sent, and who sends it."""
    studio = Studio(core, await core.tenant(), urls)
    return studio, core.operator if example.is_of_operator else studio.client, await example.prepare(studio)


async def send(client: Client, route: str, path: str, body: Any) -> httpx.Response:
    """The request under the key of this test."""
    sent = {} if body is None else {"content": msgspec.json.encode(body)}
    return await client.send(route.partition(" ")[0], path, headers={"idempotency-key": "k"}, **sent)


async def counts(studio: Studio, call: Call) -> dict[str, int]:
    """How many rows of each table the environment has, once everything is done that the call is for."""
    if call.event_id is not None:
        await wait_for_event(studio, call.event_id, "posted")
    async with connected(studio.urls.owner) as connection:
        return {
            table: await connection.fetchval(
                f"SELECT count(*) FROM {table} WHERE environment_id = $1", studio.tenant.environment_id
            )
            for table in await tenant_tables(connection)
            if table not in LEFT_OUT
        }


async def rows_of_log(urls: DatabaseUrls, route: str) -> int:
    """Rows of the audit log that the key has left, in all environments."""
    async with connected(urls.owner) as connection:
        statement = "SELECT count(*) FROM audit_log WHERE route = $1 AND idempotency_key = 'k'"
        return await connection.fetchval(statement, route)


def without_secrets(content: bytes, secrets: tuple[str, ...]) -> Any:
    """The answer as it is kept."""
    body = msgspec.json.decode(content)
    for secret in secrets:
        *way, last = secret.split(".")
        holder = body
        for name in way:
            holder = holder[name]
        assert isinstance(holder[last], str)
        holder[last] = None
    return body


@pytest.mark.parametrize("route", EXAMPLES)
async def test_twins_and_replays(core: Core, urls: DatabaseUrls, route: str) -> None:
    """Twins leave what one request leaves, and get its answer; so does a replay, byte for byte, but for secrets."""
    example = EXAMPLES[route]
    alone, client, call = await begin(core, urls, example)
    answer = await send(client, route, call.path, call.body)
    assert answer.status_code == example.status, answer.text
    expected = await counts(alone, call)
    assert await rows_of_log(urls, route) == example.rows
    if example.is_of_operator:
        client, twins = core.operator, [answer]
    else:
        studio, client, call = await begin(core, urls, example)
        twins = await asyncio.gather(*(send(client, route, call.path, call.body) for _ in range(TWINS)))
        assert await counts(studio, call) == expected
        assert await rows_of_log(urls, route) == 2 * example.rows
    [first] = [twin for twin in twins if "idempotent-replayed" not in twin.headers]
    replay = await send(client, route, call.path, call.body)
    assert replay.json() == without_secrets(first.content, example.secrets)
    for twin in [*twins, replay]:
        assert twin.status_code == example.status, twin.text
        assert twin is first or twin.headers["idempotent-replayed"] == "true"
        assert twin is first or twin.content == replay.content
    assert example.secrets or replay.content == first.content


@pytest.mark.parametrize("route", [route for route in EXAMPLES if not EXAMPLES[route].stands_alone])
async def test_another_request_under_the_key(core: Core, urls: DatabaseUrls, route: str) -> None:
    """422 names what differs, in the body or the path, and nothing happens."""
    example = EXAMPLES[route]
    studio, client, call = await begin(core, urls, example)
    assert (await send(client, route, call.path, call.body)).status_code == example.status
    before = await counts(studio, call)
    body = None if call.other_body is None else (call.body or {}) | call.other_body
    refused = await send(client, route, call.other_path or call.path, body)
    mismatch = [call.mismatch] if call.other_body is None else sorted(call.other_body)
    assert assert_problem(refused, Code.IDEMPOTENCY_KEY_REUSED)["mismatch"] == mismatch
    assert await counts(studio, call) == before


@pytest.mark.parametrize("route", [route for route in EXAMPLES if not EXAMPLES[route].is_of_operator])
async def test_core_dies_before_it_answers(
    core: Core, urls: DatabaseUrls, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was done outside its transaction by then, whoever asks again gets an answer, one effect and one row."""
    example = EXAMPLES[route]
    alone, client, call = await begin(core, urls, example)
    assert (await send(client, route, call.path, call.body)).status_code == example.status
    expected = await counts(alone, call)
    studio, client, call = await begin(core, urls, example)

    async def die(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(store, "remember_answer", die)
        assert_problem(await send(client, route, call.path, call.body), Code.INTERNAL_ERROR)
    answer = await send(client, route, call.path, call.body)
    assert answer.status_code == example.status, answer.text
    assert await counts(studio, call) == expected
    assert await rows_of_log(urls, route) == 2 * example.rows
