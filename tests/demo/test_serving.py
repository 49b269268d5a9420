"""The app without a browser: who may ask what; and what is told twice, broken off or cut off happens once."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from docs.demo import files, model
from docs.demo.__main__ import answers
from docs.demo.routes import NO_NAME
from tests.demo.running import RunningDemo, refused, variables
from tests.demo.statement import of_kind, spend, statement
from tests.waiting import wait_until

WAIT_SECONDS = 20
PROMPT = "What if I close this tab now?"


def chat(visitor: httpx.Client, prompt: str = PROMPT) -> Iterator[dict[str, Any]]:
    """The events of an answer, as they come."""
    with visitor.stream("POST", "/api/chat", json={"text": prompt}) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            yield json.loads(line)


def buy(visitor: httpx.Client, item: str) -> str:
    """A payment that is to be made; its path."""
    asked = visitor.post("/api/payments", json={"item": item})
    assert asked.status_code == 201
    return f"/api/payments/{asked.json()['reference']}"


def test_an_answer_is_charged_by_its_tokens(demo: RunningDemo, visitor: httpx.Client, customer: str) -> None:
    """Each token that came, and none that did not; the reservation was for more."""
    *tokens, ended = chat(visitor)
    assert "".join(token["text"] for token in tokens) == "".join(model.answer(PROMPT))
    assert ended == {
        "type": "ended",
        "used": len(tokens),
        "reserved": 120,
        "charged": len(tokens),
        "is_cut": False,
    }
    assert statement(demo, customer).total == 300 - len(tokens)


def test_who_leaves_pays_for_what_was_streamed(demo: RunningDemo, visitor: httpx.Client, customer: str) -> None:
    """A connection that breaks in the middle of the answer ends it, and the commit is for what went over the wire."""
    answer = chat(visitor)
    for _ in range(12):
        next(answer)
    answer.close()  # type: ignore[attr-defined]
    [committed] = wait_until(
        lambda: of_kind(statement(demo, customer).entries, "reservation_committed"), WAIT_SECONDS, "the commit"
    )
    charged = 300 - committed["total_after"]
    assert 12 <= charged < len(model.answer(PROMPT))


def test_an_answer_ends_where_the_credit_ends(demo: RunningDemo, visitor: httpx.Client, customer: str) -> None:
    """The last one is cut off, the one after it is refused, and neither costs what is not there."""
    spend(demo, customer, 270)
    *_, last = chat(visitor)
    assert last == {"type": "ended", "used": 30, "reserved": 30, "charged": 30, "is_cut": True}
    assert list(chat(visitor)) == [{"type": "refused", "reason": "insufficient_credits"}]
    assert statement(demo, customer).total == 0


def test_a_payment_grants_once_however_often_it_is_told(
    demo: RunningDemo, visitor: httpx.Client, customer: str
) -> None:
    """The same top-up each time, and one block of credit in the ledger."""
    payment = buy(visitor, "chat.small")
    told = [visitor.post(f"{payment}/confirm").json() for _ in range(3)]
    assert [each["payment"]["told"] for each in told] == [1, 2, 3]
    assert {each["answer"]["topup_id"] for each in told} == {told[0]["answer"]["topup_id"]}
    assert {each["balance"] for each in told} == {800}
    assert len(of_kind(statement(demo, customer).entries, "grant")) == 2


def test_plans_are_bought_once_too(visitor: httpx.Client) -> None:
    """The first takes the free plan's place, the next is a change; told again, both answer what they did."""
    visitor.get("/api/me")
    for item, state in (("chat.plus", "active"), ("chat.pro", "active")):
        payment = buy(visitor, item)
        first, second = [visitor.post(f"{payment}/confirm").json() for _ in range(2)]
        assert first["answer"] == second["answer"]
        assert first["balance"] == second["balance"]
        assert (first["answer"]["plan_key"], first["answer"]["state"]) == (item, state)
        assert visitor.get("/api/me").json()["plan"] == item


def test_an_older_payment_for_a_plan_that_was_left_changes_nothing(visitor: httpx.Client) -> None:
    """The provider tells of it late: the customer stays on what they bought since."""
    visitor.get("/api/me")
    plus, pro = buy(visitor, "chat.plus"), buy(visitor, "chat.pro")
    for payment in (plus, pro, plus):
        assert visitor.post(f"{payment}/confirm").status_code == 200
    assert visitor.get("/api/me").json()["plan"] == "chat.pro"


def test_a_payment_is_its_customers_own(demo: RunningDemo, visitor: httpx.Client, customer: str) -> None:
    """Nobody else sees it or confirms it; what is not for sale cannot be asked for."""
    payment = buy(visitor, "chat.small")
    with httpx.Client(base_url=demo.url) as other:
        assert other.get(payment).status_code == 401
        other.post("/api/sign-in", json={"name": f"not-{customer}"})
        assert other.get(payment).status_code == 404
        assert other.post(f"{payment}/confirm").status_code == 404
    assert visitor.get(payment).json()["told"] == 0
    assert visitor.post("/api/payments", json={"item": "chat.free"}).status_code == 404


@pytest.mark.parametrize("name", ["", "-", "a b", "a/../b", "x" * 33, "ä", "Ada", "ada\n"])
def test_a_name_that_is_none_is_refused(demo: RunningDemo, name: str) -> None:
    """It goes into paths, so it is letters, digits and hyphens; that is said in words, and nothing besides."""
    with httpx.Client(base_url=demo.url, cookies={"customer": quote(name)}) as client:
        told = client.post("/api/sign-in", json={"name": name})
        assert (told.status_code, told.json()) == (400, {"status_code": 400, "detail": NO_NAME})
        assert client.get("/api/me").json() is None
        assert client.get("/api/ledger").status_code == 401


def test_nothing_is_told_to_who_is_not_signed_in(demo: RunningDemo) -> None:
    """Every route that is about a customer asks who it is."""
    with httpx.Client(base_url=demo.url) as client:
        assert {client.get(f"/api/{path}").status_code for path in ("live", "ledger", "payments/pay_1")} == {401}
        assert client.get("/api/me").json() is None
        assert client.post("/api/chat", json={"text": "hello"}).status_code == 401
        assert client.post("/api/payments", json={"item": "chat.small"}).status_code == 401
        assert client.post("/api/payments/pay_1/confirm").status_code == 401


@pytest.mark.parametrize("file", sorted(path.name for path in files.PAGE.iterdir()))
def test_the_page_asks_nobody_else(demo: RunningDemo, file: str) -> None:
    """The browser is told so, and no file names an address."""
    answer = httpx.get(f"{demo.url}/{file}")
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "://" not in answer.text.replace('xmlns="http://', "")


@pytest.mark.parametrize("path", ["server.py", "..%2Fserver.py", "%2e%2e/server.py", "page/index.html", ".env"])
def test_nothing_beside_the_page_is_served(demo: RunningDemo, path: str) -> None:
    """A name is looked up in the folder, and leads nowhere else."""
    assert httpx.get(f"{demo.url}/{path}").status_code == 404


def test_an_edge_that_is_killed_in_the_middle_costs_nobody_anything(
    demo: RunningDemo, visitor: httpx.Client, customer: str
) -> None:
    """The answer goes on to its end; the commit is sent again until it is heard, and charges once."""
    answer = chat(visitor)
    events = [next(answer) for _ in range(5)]
    demo.run_from_page("kill -9")
    events.extend(answer)
    used = events[-1]["used"]
    assert used == len(model.answer(PROMPT))
    wait_until(lambda: statement(demo, customer).total == 300 - used, 30, "the answer to be charged")


def test_an_app_that_is_stopped_in_the_middle_charges_what_it_streamed(
    demo: RunningDemo, visitor: httpx.Client, customer: str
) -> None:
    """It settles before it ends; the next one finds its catalogue, and goes on."""
    answer = chat(visitor)
    for _ in range(5):
        next(answer)
    stopped = demo.app_pid
    os.kill(stopped, signal.SIGTERM)
    with suppress(httpx.TransportError, StopIteration):
        while True:
            next(answer)
    [committed] = wait_until(
        lambda: of_kind(statement(demo, customer).entries, "reservation_committed"), WAIT_SECONDS, "the commit"
    )
    assert 5 <= 300 - committed["total_after"] < len(model.answer(PROMPT))
    wait_until(lambda: demo.app_pid != stopped and answers(demo.url), WAIT_SECONDS, "the app to be back")
    assert visitor.get("/api/me").json()["plan"] == "chat.free"


def test_many_tabs_at_once_never_spend_what_is_not_there(
    demo: RunningDemo, visitor: httpx.Client, customer: str
) -> None:
    """All of them ask before one has ended: what is reserved for one is not there for another."""
    with ThreadPoolExecutor(8) as tabs:
        ends = list(tabs.map(lambda _: list(chat(visitor))[-1], range(8)))
    answered = [end for end in ends if end["type"] == "ended"]
    assert {end["reason"] for end in ends if end["type"] == "refused"} == {"insufficient_credits"}
    assert sum(end["reserved"] for end in answered) <= 300
    assert sum(end["charged"] for end in answered) == 300 - statement(demo, customer).total


def test_a_second_demo_in_the_same_directory_is_refused(demo: RunningDemo) -> None:
    """The first is not disturbed."""
    before = demo.stack
    assert "Another demo uses" in refused(variables(demo.directory))
    assert demo.stack == before


@pytest.mark.parametrize("variable", ["EDGE_PORT", "DEMO_PORT"])
def test_a_port_that_is_taken_is_named(demo: RunningDemo, tmp_path: Path, variable: str) -> None:
    """With the variable that moves it, and nothing is left running."""
    taken = {"EDGE_PORT": demo.stack["edge_url"], "DEMO_PORT": demo.url}[variable].rpartition(":")[2]
    said = refused(variables(tmp_path / "data", **{variable: taken}))
    assert f"Port {taken} on 127.0.0.1 is taken: set {variable} to a free one." in said


@pytest.mark.parametrize("port", ["0", "http", "70000"])
def test_a_port_that_is_none_is_refused(tmp_path: Path, port: str) -> None:
    """In one line."""
    assert "DEMO_PORT must be a number" in refused(variables(tmp_path / "data", DEMO_PORT=port))
