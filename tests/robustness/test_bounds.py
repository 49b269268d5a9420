"""At every bound and beyond it: bodies, numbers, names, nesting, text of other languages, heads. Nothing is a 5xx."""

import asyncio
import json
from io import BytesIO
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import msgspec
import pytest

from app.wire.codes import Code
from app.wire.problem import CONTENT_TYPE
from tests.flow.stack import Answer, Client
from tests.robustness.conftest import House
from tests.robustness.routes import Route, assert_problem, routes

pytestmark = pytest.mark.asyncio(loop_scope="session")

CORE_BYTES = 1 << 20
BATCH_BYTES = 4 << 20
"""Of the edge's batches; its other routes take what core takes."""
SECONDS = 20
"""For one answer."""
BROKEN: dict[str, bytes] = {
    "ends early": b'{"key": "a"',
    "goes on": b'{"key": "a"} x',
    "nested": b"[" * 100_000,
    "nested in members": b'{"a":' * 50_000,
    "no UTF-8": b'{"key": "\xff\xfe"}',
    "half a pair": b'{"key": "\\ud800"}',
    "halves the wrong way about": b'{"key": "\\udc00\\ud800"}',
    "a NUL": b'{"key": "a\x00b"}',
    "UTF-16": '{"key": "a"}'.encode("utf-16"),
    "a mark before it": b"\xef\xbb\xbf{}",
    "no number": b'{"units": NaN}',
    "an endless number": b'{"units": Infinity}',
    "a number beyond all": b'{"units": 1e400, "amount": 1e400}',
    "a number of many digits": b'{"units": ' + b"9" * 5000 + b', "amount": ' + b"9" * 5000 + b"}",
    "a number": b"1",
    "a text": b'"x"',
    "a member that nobody knows": b'{"' + b"n" * 10_000 + b'": 1}',
    "many members that nobody knows": json.dumps({f"m{number}": 1 for number in range(2000)}).encode(),
}
HOSTILE = [
    "' OR 1=1; DROP TABLE customers; --",
    "'); redis.call('FLUSHALL') --",
    "]] .. redis.call('FLUSHALL') .. [[",
    "$(reboot) `reboot` ${jndi:ldap://a}",
    "{{7*7}} %s %n {0} {x!r}",
    "../../etc/passwd",
    "..%2f..%2f",
    "a/b?c=d&e=f#g;h",
    "<script>alert(1)</script>",
    "a{b}c:d|e,f*g",
    "e\u0301 \u00e9",
    "\u202egnol eht yaw\u202c \u2066x\u2069",
    "\u0645\u0631\u062d\u0628\u0627",
    "\u200b\u200d\ufeff",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0010ffff\ue000",
    "\u0130I\u0131i \u1e9e\u00df",
    "+1 %2B1 %00",
    "-1",
    "null",
    "0x10",
    "a" * 256,
    "\U0001f600" * 256,
]
"""Names that somebody may give a user."""
NO_NAMES = ["", "a" * 257, "a\nb", "a\x00b", "a\x7fb", "a\x1bb", "a\x85b"]
AMOUNTS: list[tuple[str, bool]] = [
    *(("1", True), ("0.000001", True), ("1e0", True), ("1.0", True), ("10e-1", True)),
    *(("0", False), ("-0", False), ("-0.0", False), ("-1", False), ("0.0000001", False), ("1e-7", False)),
    *(("1e400", False), ("-1e400", False), ("1e999999999999", False), ("1" + "0" * 30, False), ("9" * 41, False)),
    *(('"1"', False), ("true", False), ("null", False), ("[1]", False), ("{}", False), ("1e30", False)),
]
"""JSON of an amount, and whether it is one."""


async def document_of(house: House) -> Any:
    """The OpenAPI document."""
    return (await house.shop.core.get("/schema")).body


async def send(client: Client, route: Route, body: bytes, **headers: str) -> Answer:
    """One body, which need not be JSON."""
    headers = {"content-type": "application/json", **headers}
    return await client.send(route.method, route.target, data=BytesIO(body), headers=headers)


async def send_blindly(client: Client, route: Route, body: bytes, key: str) -> tuple[int, Any]:
    """The answer to somebody who goes on sending, whatever is answered meanwhile: its status and its body."""
    host, _, port = client.base_url.removeprefix("http://").partition(":")
    head = f"{route.method} {route.target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(head.encode() + body)
        async with asyncio.timeout(SECONDS):
            line = await reader.readline()
            rest = await reader.readuntil(b"}")
        return int(line.split()[1]), json.loads(rest.partition(b"\r\n\r\n")[2])
    finally:
        writer.close()


def clients(house: House, route: Route) -> list[Client]:
    """Those that answer it."""
    return [house.shop.core, house.shop.edge] if route.is_hot else [house.shop.core]


def is_refused(answer: Answer, *codes: Code) -> bool:
    """Whether it is a whole problem document, with one of these codes where some are given."""
    if answer.status < 400:
        return False
    assert answer.status < 500, answer.raw
    assert_problem(answer.status, answer.headers["content-type"], answer.body)
    return not codes or answer.body["code"] in codes


async def test_bodies_beyond_their_bounds(house: House) -> None:
    """One byte too many is refused on every route that takes a body; as many as may be are looked at."""
    for route in routes(await document_of(house), house.shop.names):
        if route.takes_body:
            most = BATCH_BYTES if route.path in {"/v1/usage/batch", "/api/v1/events"} else CORE_BYTES
            for client in clients(house, route):
                status, problem = await send_blindly(client, route, b" " * (most + 1), house.key)
                assert_problem(status, CONTENT_TYPE, problem)
                assert problem["code"] == Code.BODY_TOO_LARGE, (route, problem)
                answer = await send(client, route, b" " * most)
                assert is_refused(answer, Code.INVALID_BODY, Code.MALFORMED_JSON), (route, answer.raw)


async def test_bodies_that_are_broken(house: House) -> None:
    """Every route that takes a body refuses each of them, and says why."""
    for route in routes(await document_of(house), house.shop.names):
        if route.takes_body:
            for client in clients(house, route):
                answers = await asyncio.gather(*(send(client, route, body) for body in BROKEN.values()))
                for what, answer in zip(BROKEN, answers, strict=True):
                    assert is_refused(answer), (route, what, answer.raw)


async def test_bodies_of_another_kind(house: House) -> None:
    """What says of itself that it is no JSON, or that it is packed, is not read."""
    for route in routes(await document_of(house), house.shop.names):
        if route.takes_body:
            for client in clients(house, route):
                for headers in ({"content-type": "text/plain"}, {"content-encoding": "gzip"}):
                    answer = await send(client, route, b"{}", **headers)
                    assert is_refused(answer, Code.UNSUPPORTED_MEDIA_TYPE), (route, headers, answer.raw)


def amount_of(house: House, text: str) -> list[tuple[Client, str, str]]:
    """Where an amount is sent: client, path, body."""
    of = f'"end_user_id": "{house.shop.names["end_user_id"]}"'
    used = f'{{{of}, "feature_key": "{house.shop.names["feature_key"]}", "units": {text}}}'
    core, edge = house.shop.core, house.shop.edge
    return [
        (core, "/v1/credits/grants", f'{{{of}, "amount": {text}}}'),
        *((client, path, used) for client in (core, edge) for path in ("/v1/usage", "/v1/reservations")),
    ]


@pytest.mark.parametrize(("text", "is_amount"), AMOUNTS)
async def test_values_at_and_beyond_their_bounds(house: House, text: str, is_amount: bool) -> None:  # noqa: FBT001
    """An amount is a number of six decimals at most, above zero, in whatever way JSON writes it."""
    for client, path, body in amount_of(house, text):
        headers = {"content-type": "application/json"}
        answer = await client.send("POST", path, data=body.encode(), headers=headers)
        codes = (Code.INVALID_BODY, Code.INVALID_VALUE, Code.INVALID_UNITS)
        assert (answer.status in {201, 202}) if is_amount else is_refused(answer, *codes), (path, text, answer.raw)


async def test_text_of_other_languages_is_only_text(house: House) -> None:
    """Whatever a tenant calls a user is that user, in bodies, queries and paths, at core and at the edge."""
    core, edge, feature = house.shop.core, house.shop.edge, house.shop.names["feature_key"]
    for name in HOSTILE:
        await core.created("/v1/customers", {"end_user_id": name})
        await core.created("/v1/credits/grants", {"end_user_id": name, "amount": 7})
        used = {"end_user_id": name, "feature_key": feature, "idempotency_key": uuid4().hex}
        for client in (core, edge):
            answer = await client.post("/v1/usage", used)  # the same key: counted once
            assert answer.status == 202, (name, answer.raw)
        path = f"/v1/customers/{quote(name, safe='')}/credits"
        async with house.session.get(f"{house.stack.core_url}{path}", **of(house)) as response:
            found = msgspec.json.decode(await response.read())
            assert (response.status, found["balance"]) == (200, 6), (name, found)
        for client in (core, edge):
            answer = await client.get("/v1/entitlements/check", end_user_id=name, feature_key=feature)
            assert (answer.status, answer.body["balance"]) == (200, 6), (name, answer.raw)


def of(house: House) -> dict[str, Any]:
    """The key of the shop, for a request whose path is sent as it is."""
    return {"headers": {"Authorization": f"Bearer {house.key}"}}


async def test_text_that_is_no_name(house: House) -> None:
    """Empty, too long, or with a control character: refused by its name, everywhere alike."""
    feature = house.shop.names["feature_key"]
    for name in NO_NAMES:
        for client in (house.shop.core, house.shop.edge):
            for path in ("/v1/usage", "/v1/reservations"):
                answer = await client.post(path, {"end_user_id": name, "feature_key": feature, "units": 1})
                assert is_refused(answer, Code.INVALID_VALUE), (path, name, answer.raw)
                assert [error["field"] for error in answer.body["errors"]] == ["end_user_id"]
            answer = await client.get("/v1/entitlements/check", end_user_id=name, feature_key=feature)
            assert is_refused(answer, Code.INVALID_VALUE), (name, answer.raw)
        answer = await house.shop.core.post("/v1/customers", {"end_user_id": name})
        assert is_refused(answer, Code.INVALID_VALUE), (name, answer.raw)


async def test_members_that_come_twice(house: House) -> None:
    """Two readers would take two of them: refused by name, also where the second is written with an escape."""
    name, feature = house.shop.names["end_user_id"], house.shop.names["feature_key"]
    used = f'"end_user_id": "{name}", "feature_key": "{feature}"'
    for client in (house.shop.core, house.shop.edge):
        for body in (f'{{{used}, "units": 1, "units": 2}}', f'{{{used}, "units": 1, "\\u0075nits": 2}}'):
            for path in ("/v1/usage", "/v1/reservations"):
                headers = {"content-type": "application/json"}
                answer = await client.send("POST", path, data=body.encode(), headers=headers)
                assert is_refused(answer, Code.INVALID_BODY), (path, answer.raw)
                assert [error["field"] for error in answer.body["errors"]] == ["units"]
    for body in (b'{"key": "x", "key": "x", "name": "X"}', b'{"key": "x", "name": "X", "name": "Y"}'):
        headers = {"content-type": "application/json"}
        answer = await house.shop.core.send("POST", "/v1/features", data=body, headers=headers)
        assert is_refused(answer, Code.INVALID_BODY), answer.raw


@pytest.mark.parametrize("port", ["core", "edge"])
async def test_heads_beyond_their_bounds(house: House, port: str) -> None:
    """Long paths and queries, and headers without end, are refused; the next request is answered."""
    url = house.stack.core_url if port == "core" else house.stack.edge_url
    long = [
        "/v1/entitlements?end_user_id=" + "a" * 100_000,
        "/v1/reservations/" + "a" * 100_000,
        "/" + "a/" * 30_000,
        "/v1/reservations/" + "%61" * 3000,
        "/v1/reservations/%",
        "/v1/reservations/%zz",
        "/v1/reservations/%ff%fe",
        "/v1/entitlements?" + "&".join(f"a{number}=1" for number in range(500)),
    ]
    heads = [f"GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {house.key}\r\n\r\n" for path in long]
    many = "".join(f"X-{number}: 1\r\n" for number in range(100_000))
    heads += [
        f"GET /livez HTTP/1.1\r\nHost: a\r\n{many}\r\n",
        f"GET /livez HTTP/1.1\r\nHost: a\r\nX: {'a' * 10**6}\r\n\r\n",
    ]
    for head in heads:
        status = await raw_status(url, head.encode())
        assert status is None or 400 <= status < 500, (status, head[:80])
        async with house.session.get(f"{url}/livez") as response:
            assert response.status == 200


async def raw_status(url: str, head: bytes) -> int | None:
    """The status of what comes back; None where the connection ends without a word."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(SECONDS):
            try:
                writer.write(head)
                line = await reader.readline()
            except ConnectionError:
                return None
        return int(line.split()[1]) if line else None
    finally:
        writer.close()


async def test_keys_and_pages_at_their_bounds(house: House) -> None:
    """As long as they may be they are taken, one more and they are refused by name."""
    core = house.shop.core
    for length, is_taken in ((255, True), (256, False)):
        key = uuid4().hex.ljust(length, "k")
        answer = await core.post("/v1/plans", {"key": uuid4().hex, "name": "P"}, idempotency_key=key)
        assert (answer.status == 201) if is_taken else is_refused(answer, Code.INVALID_VALUE), answer.raw
    for key in ("", "\u00e9", "a\tb"):
        answer = await core.post("/v1/plans", {"key": uuid4().hex, "name": "P"}, idempotency_key=key)
        assert is_refused(answer), (key, answer.raw)
    for limit, is_taken in (("1", True), ("1000", True), ("0", False), ("1001", False), ("one", False), ("-1", False)):
        answer = await core.get("/v1/customers", limit=limit)
        assert (answer.status == 200) if is_taken else is_refused(answer), (limit, answer.raw)
    for cursor in ("", "a" * 1025, "%00", "AAAA", "\u00e9", "' OR 1=1 --"):
        assert is_refused(await core.get("/v1/customers", cursor=cursor), Code.INVALID_VALUE), cursor
