"""The command and its client: where a load may go, and how long a request is asked for."""

import asyncio

import aiohttp
import pytest
from click.testing import CliRunner

from app.io.outbound import Answer
from loadtests.load import client
from loadtests.load.__main__ import main, running_subject
from loadtests.load.addresses import AddressRefused
from loadtests.load.client import HttpApi, NoAnswer, until
from loadtests.load.running import Subject

EVENT = {"idempotency_key": "the-same"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--base-url", "http://example.com", "--key", "k"], "example.com is not this machine"),
        (["--base-url", "http://127.0.0.1", "--edge-url", "http://10.0.0.1", "--key", "k"], "10.0.0.1 is not this"),
        (["--base-url", "http://127.0.0.1"], "--base-url needs --key"),
        (["--key", "k"], "go with --base-url"),
    ],
)
def test_command_refuses_what_is_not_this_machine(options: list[str], reason: str) -> None:
    """Before anything is started, with the reason and status 1."""
    done = CliRunner().invoke(main, ["mixed", *options])
    assert done.exit_code == 1
    assert reason in done.stderr


@pytest.mark.parametrize("options", [["unheard"], ["mixed", "--seconds", "3601"], ["mixed", "--users", "2001"]])
def test_command_takes_known_scenarios_within_their_bounds(options: list[str]) -> None:
    """Anything else is an error of usage."""
    assert CliRunner().invoke(main, options).exit_code == 2


def test_running_product_may_have_one_address_for_everything() -> None:
    """Core forwards what is the edge's."""
    assert running_subject("http://localhost:8000/", None, "k") == Subject(
        "http://localhost:8000", "http://localhost:8000", "k"
    )
    assert running_subject(None, None, None) is None
    with pytest.raises(AddressRefused):
        running_subject(None, "http://localhost:8001", None)


class Wire:
    """Answers one after the other; the last one for ever."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self._answers = list(answers)
        self.sent: list[tuple[object, object]] = []

    async def send(self, _session: object, _method: str, _url: str, *, headers: object, body: object) -> Answer:
        """In place of the real one."""
        self.sent.append((body, headers))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def api_over(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> HttpApi:
    """A client whose requests go there."""
    monkeypatch.setattr(client, "send", wire.send)
    return HttpApi(None, "http://edge", "k")  # type: ignore[arg-type] # nothing is opened


async def test_request_is_sent_until_it_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same body under the same key, through a lost connection, a 503, and a twin that is under way."""
    twin = Answer(409, b'{"code":"idempotency_key_in_flight"}', {})
    done = Answer(202, b"{}", {"Idempotent-Replayed": "true"})
    wire = Wire(aiohttp.ServerDisconnectedError(), Answer(503, b"", {}), twin, done)
    answer = await api_over(wire, monkeypatch).send("POST", "/v1/usage", EVENT, "key")
    assert (answer.status, answer.is_replayed) == (202, True)
    assert wire.sent == [(EVENT, {"Authorization": "Bearer k", "Idempotency-Key": "key"})] * 4


@pytest.mark.parametrize("status", [400, 402, 409, 500])
async def test_answer_that_is_one_is_not_asked_for_again(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal is an answer, and so is a 500: the caller says what it is worth."""
    wire = Wire(Answer(status, b"{}", {}))
    assert (await api_over(wire, monkeypatch).send("POST", "/v1/usage", EVENT)).status == status
    assert len(wire.sent) == 1


async def test_request_without_an_answer_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what it met last."""
    monkeypatch.setattr(client, "PATIENCE_SECONDS", 0)
    with pytest.raises(NoAnswer, match="POST /v1/usage was answered with 503, and there was no time"):
        await api_over(Wire(Answer(503, b"", {})), monkeypatch).send("POST", "/v1/usage", EVENT)


async def test_waiting_for_what_does_not_come_ends_in_time() -> None:
    """It names what it waited for."""

    async def never() -> bool:
        await asyncio.sleep(0)
        return False

    with pytest.raises(NoAnswer, match="waited in vain for a miracle"):
        await until(never, "a miracle", 0)
