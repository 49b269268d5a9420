"""Where webhooks go: to public addresses and to what the operator allows. Real sockets on the loopback."""

import asyncio
import socket
from socket import AF_INET, SOCK_STREAM
from threading import Event
from uuid import UUID, uuid4

import aiohttp
import pytest

from app.io.guard import RESOLVING_EACH, RESOLVING_THREADS, look_up_for
from app.io.outbound import Delivery, Failure, Session, open_guarded_session
from app.rules.addresses import read_networks
from tests.app.io.outbound.stranger import LOOPBACK, OK, UNSPECIFIED, Names, answering, outcome, post, stranger
from tests.waiting import wait_until_async

WAIT_SECONDS = 10
CLOSING = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", UNSPECIFIED, "localhost", "LOCALHOST", "0x7f.1", "127.1"],
)
async def test_nothing_inside_is_reached(host: str) -> None:
    """However the loopback is spelled, and whoever spells it out: no connection comes about."""
    async with stranger(answering(OK)) as server, open_guarded_session([]) as session:
        delivery = await post(session, server.url(host))
        assert delivery.failure in {Failure.FORBIDDEN_ADDRESS, Failure.MALFORMED_URL}
        assert not server.connections


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1"])
async def test_what_is_allowed_is_reached(session: Session, host: str) -> None:
    """The control of the test above: by these spellings the same server answers where its network is allowed."""
    async with stranger(answering(OK)) as server:
        assert outcome(await post(session, server.url(host))) == (200, b"ok", None)


async def test_only_what_is_allowed_is_reached() -> None:
    """A network that is allowed opens no other one."""
    async with stranger(answering(OK)) as server, open_guarded_session(read_networks("127.9.0.0/16")) as session:
        assert outcome(await post(session, server.url()))[2] == Failure.FORBIDDEN_ADDRESS
        assert not server.connections


async def test_a_name_that_leads_elsewhere_the_next_time() -> None:
    """It is the address of the socket that is judged: what a name said before, or says next, opens nothing."""
    names = Names({"rebound.example": [["127.0.0.1"], ["127.0.0.2"]]})
    allowed = read_networks("127.0.0.1/32")
    async with (
        stranger(answering(CLOSING), UNSPECIFIED) as server,
        open_guarded_session(allowed, resolver=names) as session,
    ):
        url = server.url("rebound.example")
        assert outcome(await post(session, url)) == (200, b"", None)
        assert isinstance(session.connector, aiohttp.TCPConnector)
        session.connector.clear_dns_cache()
        assert outcome(await post(session, url))[2] == Failure.FORBIDDEN_ADDRESS
        assert names.asked == ["rebound.example"] * 2
        assert server.connections == 1


async def test_a_name_is_asked_for_once_a_connection() -> None:
    """Nothing is looked up between the check and the connection: a name that changes with each look finds no gap."""
    names = Names({"rebound.example": [["127.0.0.1"], ["10.0.0.1"]]})
    async with stranger(answering(OK)) as server, open_guarded_session(LOOPBACK, resolver=names) as session:
        assert outcome(await post(session, server.url("rebound.example"))) == (200, b"ok", None)
        assert names.asked == ["rebound.example"]


@pytest.mark.parametrize("order", [["10.0.0.1", "169.254.169.254", "127.0.0.1"], ["127.0.0.1", "::1", "fd00:ec2::254"]])
async def test_of_several_addresses_the_allowed_are_taken(order: list[str]) -> None:
    """Wherever they stand among the others, and nothing goes to those."""
    names = Names({"mixed.example": [order]})
    async with (
        stranger(answering(OK)) as server,
        open_guarded_session(read_networks("127.0.0.0/8"), resolver=names) as session,
    ):
        assert outcome(await post(session, server.url("mixed.example"))) == (200, b"ok", None)


async def test_several_addresses_that_are_all_inside() -> None:
    """The failure says so, as for a single one."""
    names = Names({"inside.example": [["10.0.0.1", "fd00::1", "127.0.0.1"]]})
    async with open_guarded_session([], resolver=names) as session:
        assert outcome(await post(session, "http://inside.example/"))[2] == Failure.FORBIDDEN_ADDRESS


@pytest.mark.parametrize(
    "url",
    ["http://nobody.example/", f"http://{'a' * 70}.example/", f"http://{'a.' * 200}example/", "http://bücher.example/"],
)
async def test_names_that_are_none(url: str) -> None:
    """A name without an address is a failure like others, and no codec's error."""
    async with open_guarded_session([], resolver=Names({})) as session:
        assert outcome(await post(session, url))[2] == Failure.NAME_NOT_RESOLVED


@pytest.mark.parametrize("host", [f"{'a' * 70}.invalid", "a." * 200, "x" * 300, "..", "nobody.invalid"])
async def test_names_that_the_system_does_not_know(session: Session, host: str) -> None:
    """The same where the system is asked: names that no name server could ever have among them."""
    assert outcome(await post(session, f"http://{host}/"))[2] in {Failure.NAME_NOT_RESOLVED, Failure.MALFORMED_URL}


async def test_an_end_waits_for_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session is closed while a name server is silent: whoever waited for it is let go."""
    asked, answered = Event(), Event()

    def ask(*_: object, **__: object) -> None:
        asked.set()
        answered.wait(WAIT_SECONDS)

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    try:
        async with asyncio.timeout(WAIT_SECONDS / 2):
            async with open_guarded_session(LOOPBACK) as session:
                waiting = asyncio.create_task(post(session, "http://silent.example/"))
                await asyncio.to_thread(asked.wait, WAIT_SECONDS)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
    finally:
        answered.set()


@pytest.mark.parametrize(
    ("host", "asked"),
    [
        ("hooks.example.", "hooks.example."),
        ("HOOKS.example", "hooks.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("127。0。0。2", "127.0.0.2"),
    ],
)
async def test_other_spellings_of_a_name(host: str, asked: str) -> None:
    """The name server hears the name in its plain form, and its answer is judged like any other."""
    names = Names({asked: [["127.0.0.1"]]})
    async with stranger(answering(OK)) as server, open_guarded_session([], resolver=names) as session:
        assert outcome(await post(session, server.url(host)))[2] == Failure.FORBIDDEN_ADDRESS
        assert names.asked == ([] if asked[0].isdigit() else [asked])


async def test_an_environment_whose_names_hang_leaves_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many of them there are, and though nobody waits any more for those that were begun.

    Not even a name that both have waits for the room of one of them.
    """
    answered, entered = Event(), list[bytes]()

    def ask(host: bytes, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        if host.startswith(b"silent"):
            entered.append(host)
            answered.wait(WAIT_SECONDS)
        return [(AF_INET, SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def post_for(environment_id: UUID, url: str) -> Delivery:
        look_up_for(environment_id)
        return await post(session, url)

    async def all_entered() -> bool:
        return len(entered) == RESOLVING_EACH

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    hanging, other = uuid4(), uuid4()
    try:
        async with stranger(answering(OK)) as server, open_guarded_session(LOOPBACK) as session:
            urls = [server.url(f"silent-{number}.example") for number in range(2 * RESOLVING_THREADS)]
            first, second = ([asyncio.create_task(post_for(hanging, url)) for url in part] for part in halves(urls))
            await wait_until_async(all_entered, WAIT_SECONDS, "as many are looked up as may be")
            for task in first:
                task.cancel()
            await asyncio.wait(first)
            second.append(asyncio.create_task(post_for(hanging, server.url("shared.example"))))
            await asyncio.sleep(0)
            assert outcome(await asyncio.create_task(post_for(other, server.url("shared.example")))) == (
                200,
                b"ok",
                None,
            )
            assert await all_entered()
            answered.set()
            assert {(await task).status for task in second} == {200}
    finally:
        answered.set()


def halves(urls: list[str]) -> tuple[list[str], list[str]]:
    """The first and the second half."""
    middle = len(urls) // 2
    return urls[:middle], urls[middle:]


async def test_names_are_looked_up_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name servers that do not answer hold up no other name, as long as there are fewer of them than threads."""
    answered = Event()

    def ask(host: bytes, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        if host.startswith(b"silent"):
            answered.wait(WAIT_SECONDS)
        return [(AF_INET, SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    try:
        async with stranger(answering(OK)) as server, open_guarded_session(LOOPBACK) as session:
            waiting = [
                asyncio.create_task(post(session, server.url(f"silent-{number}.example")))
                for number in range(RESOLVING_THREADS - 1)
            ]
            await asyncio.sleep(0)
            assert outcome(await post(session, server.url("quick.example"))) == (200, b"ok", None)
            assert not any(task.done() for task in waiting)
            answered.set()
            assert {(await task).status for task in waiting} == {200}
    finally:
        answered.set()
