"""Who answers to https has a certificate for the name that was asked for, from somebody who is trusted."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from app.io.outbound import Failure, Session, open_guarded_session
from tests.app.io.outbound.stranger import LOOPBACK, OK, Names, Peer, answering, outcome, post, stranger
from tests.certificates import Certificate, make_certificate

NAMES = {name: [["127.0.0.1"]] for name in ("hooks.example", "hooks.example.", "other.example")}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """For one name and one address."""
    return make_certificate(tmp_path_factory.mktemp("certificate"), "DNS:hooks.example", "IP:127.0.0.1")


@pytest.fixture
def serving(certificate: Certificate) -> ssl.SSLContext:
    """How the server shows it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.chain, certificate.key)
    return context


def trusting(chain: Path) -> Session:
    """A session for which this certificate is somebody's who is trusted."""
    return open_guarded_session(LOOPBACK, resolver=Names(NAMES), tls=ssl.create_default_context(cafile=chain))


@pytest.mark.parametrize(
    ("host", "asked"), [("hooks.example", "hooks.example"), ("hooks.example.", "hooks.example"), ("127.0.0.1", None)]
)
async def test_the_right_name(certificate: Certificate, serving: ssl.SSLContext, host: str, asked: str | None) -> None:
    """The server hears which name is meant, and the message arrives."""
    heard: list[str | None] = []

    def hear(_connection: Any, name: str | None, _context: Any) -> None:
        heard.append(name)

    serving.sni_callback = hear
    async with stranger(answering(OK), tls=serving) as server, trusting(certificate.chain) as session:
        assert outcome(await post(session, server.url(host, "https"))) == (200, b"ok", None)
    assert heard == [asked]


async def test_the_wrong_name(certificate: Certificate, serving: ssl.SSLContext) -> None:
    """A certificate for another name is none, and nothing is sent."""
    async with stranger(answering(OK), tls=serving) as server, trusting(certificate.chain) as session:
        assert outcome(await post(session, server.url("other.example", "https")))[2] == Failure.TLS_FAILED
        assert not server.requests


async def test_somebody_who_is_not_trusted(serving: ssl.SSLContext) -> None:
    """A certificate that its owner signed is none."""
    async with (
        stranger(answering(OK), tls=serving) as server,
        open_guarded_session(LOOPBACK, resolver=Names(NAMES)) as session,
    ):
        assert outcome(await post(session, server.url("hooks.example", "https")))[2] == Failure.TLS_FAILED
        assert not server.requests


async def test_no_tls_at_all(session: Session) -> None:
    """A server that speaks plainly where https was asked for."""

    async def speaks_plainly(peer: Peer) -> None:
        await peer.send(OK)
        await peer.gone()

    async with stranger(speaks_plainly) as server:
        assert outcome(await post(session, server.url(scheme="https")))[2] == Failure.TLS_FAILED
