"""The HTTP clients that people have, each told to hold the same conversation over connections that it keeps."""

import json
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
import httpx

from tests.programs import program

TIMEOUT_SECONDS = 20
FETCH = Path(__file__).with_name("fetch.mjs")


class Ask(NamedTuple):
    """One request."""

    method: str
    target: str
    body: bytes = b""
    is_chunked: bool = False
    expects: bool = False
    """Whether leave is asked before the body is sent, where the client can."""


class Told(NamedTuple):
    """One answer."""

    status: int
    body: bytes


class Place(NamedTuple):
    """Where the edge is, and with which key."""

    url: str
    key: str
    certificate: Path | None = None
    """Of the authority that is believed."""

    def headers(self, ask: Ask) -> dict[str, str]:
        """What every client sends."""
        return {"Authorization": f"Bearer {self.key}"} | ({"Content-Type": "application/json"} if ask.body else {})


def halves(body: bytes) -> Iterator[bytes]:
    """In two chunks."""
    yield body[: len(body) // 2]
    yield body[len(body) // 2 :]


async def halves_async(body: bytes) -> AsyncIterator[bytes]:
    """In two chunks."""
    for half in halves(body):
        yield half


async def by_httpx(place: Place, asks: Sequence[Ask]) -> list[Told]:
    """The client httpx."""
    told: list[Told] = []
    async with httpx.AsyncClient(base_url=place.url, timeout=TIMEOUT_SECONDS) as client:
        for ask in asks:
            content = halves_async(ask.body) if ask.is_chunked else ask.body or None
            answer = await client.request(ask.method, ask.target, content=content, headers=place.headers(ask))
            told.append(Told(answer.status_code, answer.content))
    return told


async def by_aiohttp(place: Place, asks: Sequence[Ask]) -> list[Told]:
    """The client aiohttp."""
    told: list[Told] = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT_SECONDS)) as session:
        for ask in asks:
            data = halves_async(ask.body) if ask.is_chunked else ask.body or None
            async with session.request(
                ask.method, place.url + ask.target, data=data, headers=place.headers(ask), expect100=ask.expects
            ) as answer:
                told.append(Told(answer.status, await answer.read()))
    return told


def by_http_client(place: Place, asks: Sequence[Ask]) -> list[Told]:
    """http.client, over TLS where there is a certificate."""
    address = urlsplit(place.url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=TIMEOUT_SECONDS)
    if place.certificate is not None:
        context = ssl.create_default_context(cafile=place.certificate)
        connection = HTTPSConnection(address.hostname or "", address.port, timeout=TIMEOUT_SECONDS, context=context)
    told: list[Told] = []
    for ask in asks:
        headers = place.headers(ask) | ({"Transfer-Encoding": "chunked"} if ask.is_chunked else {})
        body = halves(ask.body) if ask.is_chunked else ask.body or None
        connection.request(ask.method, ask.target, body, headers, encode_chunked=ask.is_chunked)
        answer = connection.getresponse()
        told.append(Told(answer.status, answer.read()))
    connection.close()
    return told


def by_urllib(place: Place, asks: Sequence[Ask]) -> list[Told]:
    """urllib.request, which closes after each answer."""
    told: list[Told] = []
    for ask in asks:
        request = urllib.request.Request(  # noqa: S310 - the edge, over HTTP
            place.url + ask.target,
            halves(ask.body) if ask.is_chunked else ask.body or None,
            place.headers(ask),
            method=ask.method,
        )
        try:
            answer = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)  # noqa: S310 - as above
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            told.append(Told(answer.status or 0, answer.read()))
    return told


def by_curl(place: Place, asks: Sequence[Ask], directory: Path) -> list[Told]:
    """One curl for all requests."""
    command = [program("curl"), "--silent", "--show-error", "--max-time", str(TIMEOUT_SECONDS)]
    for number, ask in enumerate(asks):
        command += ["--next"] * bool(number) + ["--http1.1", "--write-out", "%{http_code}\n"]
        if place.certificate is not None:
            command += ["--cacert", str(place.certificate)]
        headers = place.headers(ask)
        if ask.is_chunked:
            headers["Transfer-Encoding"] = "chunked"
        if ask.expects:
            headers["Expect"] = "100-continue"
        for name, value in headers.items():
            command += ["--header", f"{name}: {value}"]
        if ask.body:
            (directory / f"body-{number}").write_bytes(ask.body)
            command += ["--data-binary", f"@{directory}/body-{number}"]
        command += ["--head"] if ask.method == "HEAD" else ["--request", ask.method]
        command += ["--output", f"{directory}/answer-{number}", place.url + ask.target]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * TIMEOUT_SECONDS, check=False)
    assert not done.returncode, done.stderr
    bodies = [b"" if ask.method == "HEAD" else (directory / f"answer-{n}").read_bytes() for n, ask in enumerate(asks)]
    return [Told(int(status), body) for status, body in zip(done.stdout.split(), bodies, strict=True)]


def by_fetch(place: Place, asks: Sequence[Ask]) -> list[Told]:
    """Node's fetch."""
    conversation = [
        {
            "url": place.url + ask.target,
            "method": ask.method,
            "headers": place.headers(ask),
            "body": ask.body.decode() or None,
            "isChunked": ask.is_chunked,
        }
        for ask in asks
    ]
    done = subprocess.run(
        [program("node"), FETCH],
        input=json.dumps(conversation),
        capture_output=True,
        text=True,
        timeout=2 * TIMEOUT_SECONDS,
        check=False,
    )
    assert not done.returncode, done.stderr
    return [Told(answer["status"], answer["body"].encode()) for answer in json.loads(done.stdout)]
