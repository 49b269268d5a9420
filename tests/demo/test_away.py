"""The app where nobody answers it: what the fail mode says, at once, and what was used is kept."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from docs.demo import model
from docs.demo.account import Account
from docs.demo.chat import Chat, Ended, Event, Refused, Token
from docs.demo.journal import Journal, WatchedClient, asking_for
from quotastack import AsyncQuotaStack
from tests.ports import free_port

KEY = "qs_test_1"
FAST = 10_000


@pytest.fixture
def nobody() -> str:
    """An address where nobody listens."""
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture(params=["open", "closed"])
async def metering(request: pytest.FixtureRequest, nobody: str, tmp_path: Path) -> AsyncIterator[AsyncQuotaStack]:
    """A client of nobody, in either fail mode."""
    client = AsyncQuotaStack(KEY, url=nobody, fail_mode=request.param, attempts=1, spool=tmp_path / "spool")
    yield client
    await client.close()


async def say(metering: AsyncQuotaStack, *, fails_open: bool) -> list[Event]:
    """All that comes of a prompt."""
    chat = Chat(metering, FAST, fails_open=fails_open)
    return [event async for event in chat.answer("ada", "hello")]


@pytest.mark.parametrize("metering", ["open"], indirect=True)
async def test_open_lets_people_in_and_keeps_what_they_used(metering: AsyncQuotaStack) -> None:
    """A whole answer, nothing charged yet, and one event that waits to be sent."""
    *tokens, ended = await say(metering, fails_open=True)
    assert [token.text for token in tokens if isinstance(token, Token)] == model.answer("hello")
    assert isinstance(ended, Ended)
    assert (ended.used, ended.charged, ended.is_cut) == (len(tokens), None, False)
    assert (await metering.flush()).waiting == 1


@pytest.mark.parametrize("metering", ["closed"], indirect=True)
async def test_closed_keeps_the_door_shut(metering: AsyncQuotaStack) -> None:
    """No answer, and the page is told that it is not about credit."""
    assert await say(metering, fails_open=False) == [Refused("unavailable")]
    assert (await metering.flush()).waiting == 0


async def test_the_page_has_an_overview_all_the_same(metering: AsyncQuotaStack) -> None:
    """Who it is and what there is to buy; of plan and credit nothing is made up."""
    shown = await Account(metering, Journal(), "open").show("ada")
    assert (shown.customer, shown.plan, shown.credits_known) == ("ada", "", None)
    assert shown.packs


async def test_a_call_that_nobody_answers_is_shown_as_one(nobody: str) -> None:
    """With its time, and with status 0."""
    journal = Journal()
    token = asking_for.set("ada")
    async with (
        WatchedClient(journal, nobody) as http,
        AsyncQuotaStack(KEY, url=nobody, attempts=1, http=http) as client,
    ):
        check = await client.check_entitlement("ada", "chat.tokens")
    asking_for.reset(token)
    assert not check.allowed
    [call] = journal.after("ada", 0)
    assert (call.method, call.server, call.status, call.answered) == ("GET", "edge", 0, None)
    assert call.path.startswith("/v1/entitlements/check?end_user_id=ada")
    assert journal.edge_milliseconds == 0


async def test_a_commit_that_is_not_heard_is_settled_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sent until it is heard, whatever stands in the way for now; and the end waits for that."""
    monkeypatch.setattr("docs.demo.chat.SETTLE_SECONDS", 0)
    committed: list[Any] = []
    waiting = iter([429, 503])

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/check"):
            asked = {"feature_key": "chat.tokens", "units": 120, "cost": 120, "balance": 500, "reserved": 0}
            plan = {"reason": None, "overage_policy": None, "subscription_status": None}
            rest = {"value": None, "limit": None, "used": None, "resets_at": None, "version": 1}
            return web.json_response({"allowed": True, **asked, **plan, **rest})
        if not request.path.endswith("/commit"):
            opened = {"reservation_id": "rsv_1", "reserved": 120, "balance": 380}
            return web.json_response({**opened, "expires_at": "2100-01-01T00:00:00Z"}, status=201)
        if status := next(waiting, None):
            return web.json_response({"code": "too_many_requests", "detail": "", "status": status}, status=status)
        committed.append(await request.json())
        ended = {"reservation_id": "rsv_1", "state": "committed", "charged": 1, "released": 0, "balance": 1}
        return web.json_response({**ended, "late": False})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    async with (
        TestServer(application) as server,
        AsyncQuotaStack(KEY, url=str(server.make_url("/")), attempts=1) as metering,
    ):
        chat = Chat(metering, FAST, fails_open=True)
        *_, ended = [event async for event in chat.answer("ada", "hello")]
        assert isinstance(ended, Ended)
        assert ended.charged is None
        await chat.end()
        assert committed == [{"units": ended.used}]
