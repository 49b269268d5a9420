"""Batches are sent until every event is accepted, with the same keys; what never will be accepted ends the run."""

import random
from typing import Any

import pytest
from aiohttp import web

from app.replay import sending
from app.replay.client import Client, Patience
from app.replay.errors import ReplayError
from app.replay.sending import Tally, send_batches
from tests.app.replay.scripted import KEY, accepted, client_of, make_events, problem, rejected, spooled

EVENTS, BATCH, TROUBLES = 200, 20, 12
SEED = 7


class TroubledLedger:
    """Takes events in, and answers with some trouble now and then: before it takes them in, after, or for some."""

    def __init__(self, randomness: random.Random) -> None:
        self.taken: dict[str, dict[str, Any]] = {}
        self.troubles = 0
        self._randomness = randomness

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One attempt at a batch."""
        assert request.headers["Authorization"] == f"Bearer {KEY}"
        events = (await request.json())["events"]
        self.troubles += 1
        match self._randomness.randrange(7) if self.troubles <= TROUBLES else -1:
            case 0:
                return problem(503, "edge_unavailable", Retry_After="0")
            case 1:
                return problem(429, "too_many_requests")
            case 2:
                return web.Response(status=502, text="<html>Bad Gateway</html>")
            case 3:  # taken in, and nobody hears of it
                self._take(events)
                assert request.transport is not None
                request.transport.close()
                return web.Response()
            case (4 | 5) as kind:
                missing = rejected("account_loading") if kind == 4 else spooled()
                results = [self._take([event])[0] if self._randomness.random() < 0.5 else missing for event in events]
                return web.json_response({"results": results}, status=202)
            case _:
                return web.json_response({"results": self._take(events)}, status=202)

    def _take(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        known = [event["idempotency_key"] in self.taken for event in events]
        for event in events:
            assert self.taken.setdefault(event["idempotency_key"], event) == event
        return [accepted(event, replayed=replayed) for event, replayed in zip(events, known, strict=True)]


def in_batches(count: int) -> list[Any]:
    """So many events in batches."""
    events = make_events(count)
    return [events[start : start + BATCH] for start in range(0, count, BATCH)]


async def send(client: Client, count: int) -> Tally:
    """What became of so many events."""
    return await send_batches(client, in_batches(count), lambda _: None)


async def test_every_event_is_accepted_whatever_comes_between() -> None:
    """503, 429, 502, lost answers, batches of which some are refused or spooled: all of it once, counted once."""
    ledger = TroubledLedger(random.Random(SEED))
    told: list[int] = []
    async with client_of(ledger.answer) as client:
        tally = await send_batches(client, in_batches(EVENTS), told.append)
    assert ledger.troubles > TROUBLES
    assert len(ledger.taken) == tally.accepted == sum(told) == EVENTS
    assert tally.units == {"input_tokens": EVENTS}
    assert tally.cost_micro == {"input_tokens": EVENTS * 100_000}


async def test_what_was_known_already_is_counted() -> None:
    """A second run changes nothing, and says so."""
    ledger = TroubledLedger(random.Random(SEED))
    ledger.troubles = TROUBLES
    async with client_of(ledger.answer) as client:
        assert (await send(client, 40)).replayed == 0
        assert (await send(client, 60)).replayed == 40


async def answer_never(_: web.Request) -> web.Response:
    """One event can never be taken in."""
    return web.json_response({"results": [accepted({"units": 1})] * 19 + [rejected("unknown_feature")]}, status=202)


async def answer_unauthenticated(_: web.Request) -> web.Response:
    """Another key is needed."""
    return problem(401, "unauthenticated")


async def answer_too_little(_: web.Request) -> web.Response:
    """A result is missing."""
    return web.json_response({"results": [accepted({"units": 1})] * 19}, status=202)


async def answer_something_else(_: web.Request) -> web.Response:
    """Somebody else listens there."""
    return web.Response(status=202, text="<html>\nWelcome</html>")


async def answer_a_fine_cost(_: web.Request) -> web.Response:
    """More decimals than credits have."""
    return web.json_response({"results": [accepted({"units": 1}) | {"cost": 0.0000001}] * 20}, status=202)


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (answer_never, "file:19:input_tokens of user_5 was rejected with unknown_feature: In a word: no."),
        (answer_unauthenticated, "was answered with 401: unauthenticated: In a word: no."),
        (answer_too_little, "19 results for 20 events"),
        (answer_something_else, "was answered with 202 and no BatchAnswer"),
        (answer_a_fine_cost, "the cost 1E-7 of the event file:0:input_tokens must have at most 6 decimals"),
    ],
)
async def test_what_does_not_pass_is_told(handler: Any, words: str) -> None:
    """At once, in one line, and nothing more is sent."""
    async with client_of(handler) as client:
        with pytest.raises(ReplayError) as failed:
            await send(client, BATCH)
    assert words in str(failed.value)
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize("whole", [True, False])
async def test_patience_ends(monkeypatch: pytest.MonkeyPatch, *, whole: bool) -> None:
    """Trouble that stays is told, whether it is the batch's or one event's."""

    async def answer(_: web.Request) -> web.Response:
        if whole:
            return problem(503, "backlog", Retry_After="1")
        return web.json_response({"results": [rejected("backlog")] * BATCH}, status=202)

    monkeypatch.setattr(sending, "PATIENCE_SECONDS", 0)
    async with client_of(answer) as client:
        with pytest.raises(ReplayError, match=r"backlog: In a word: no\.; tried for 0 seconds, start again to go on"):
            await send(client, BATCH)


async def test_an_answer_may_ask_for_more_than_there_is() -> None:
    """Then nobody waits for it."""
    with pytest.raises(ReplayError, match="closed"):
        await Patience(5).wait("closed", 86_400)
