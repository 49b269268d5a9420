"""deploy/nginx.conf: the hot routes of the edge and no others go to the edge, and nothing is answered with HTML."""

import json
import re
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import NamedTuple

import pytest

from app.wire.codes import MEANINGS, RETRY_AFTER_SECONDS, Code
from edge.routes import BODY_LIMITS, ROUTES
from tests.deploy.files import NGINX, SERVICES
from tests.deploy.proxy import Upstreams, running_proxy
from tests.ports import free_port

HOT = {(method.decode(), path.decode()) for method, path in ROUTES}
REQUEST_SECONDS = 10
# In place of the two processes: says which of them it is, and what came to it.
STUB = """
    server {
        listen 127.0.0.1:%d;
        client_max_body_size 8m;
        return 200 "%s $request_method $request_uri $http_host $http_idempotency_key";
    }
"""


def read_map() -> dict[str, str]:
    """The map of the configuration: `METHOD path` to the name of an upstream."""
    block = re.search(r'map "\$request_method \$uri" \$backend \{(.*?)\}', NGINX, re.DOTALL)
    assert block
    return {key.strip('"'): name for key, name in re.findall(r'(default|"[^"]+")\s+(\w+);', block[1])}


def test_hot_routes_are_those_of_the_edge() -> None:
    """By method and path; a HEAD goes where its GET goes; everything else is core's."""
    heads = {("HEAD", path) for method, path in HOT if method == "GET"}
    assert read_map() == {key_of(method, path): "edge" for method, path in HOT | heads} | {"default": "core"}


def key_of(method: str, path: str) -> str:
    """A route as the map has it: one with an id is a pattern."""
    return f"~^{method} {path.replace('{}', '[^/]+')}$" if "{}" in path else f"{method} {path}"


def test_addresses_are_those_of_the_services() -> None:
    """Upstreams name services at their ports; the published port is the one that the proxy listens on."""
    assert re.findall(r"server (\S+) resolve;", NGINX) == ["core:8000", "edge:8001"]
    listens = re.findall(r"listen (\S+);", NGINX)
    assert [published.rpartition(":")[2] for published in SERVICES["proxy"]["ports"]] == listens
    assert f"127.0.0.1:{listens[0]}/livez" in SERVICES["proxy"]["healthcheck"]["test"][-1]


def test_no_body_is_refused_that_a_process_would_take() -> None:
    """The proxy's bound lies above the edge's largest."""
    bound = re.search(r"client_max_body_size (\d+)m;", NGINX)
    assert bound
    assert int(bound[1]) << 20 > max(BODY_LIMITS.values())


class Answer(NamedTuple):
    """An HTTP answer, read whole."""

    status: int
    text: str
    headers: dict[str, str]


def send(port: int, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
    """One request; keyword arguments are headers with underscores for hyphens."""
    connection = HTTPConnection("127.0.0.1", port, timeout=REQUEST_SECONDS)
    try:
        connection.request(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return Answer(response.status, response.read().decode(), dict(response.headers))
    finally:
        connection.close()


@pytest.fixture(scope="module")
def alive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A proxy with both processes behind it."""
    upstreams = Upstreams(free_port(), free_port())
    stubs = STUB % (upstreams.core, "core") + STUB % (upstreams.edge, "edge")
    with running_proxy(tmp_path_factory.mktemp("alive"), upstreams, more=stubs) as port:
        yield port


@pytest.fixture(scope="module")
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A proxy with nobody behind it."""
    with running_proxy(tmp_path_factory.mktemp("lonely"), Upstreams(free_port(), free_port())) as port:
        yield port


@pytest.mark.parametrize(("method", "path"), sorted(HOT))
def test_a_hot_request_reaches_the_edge_as_it_was_sent(alive: int, method: str, path: str) -> None:
    """With its query, its host and its headers."""
    target = f"{path.replace('{}', 'rsv_1')}?a=%20b"
    answer = send(alive, method, target, b"{}", Host="api.example", Idempotency_Key="k-1")
    assert (answer.status, answer.text) == (200, f"edge {method} {target} api.example k-1")


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/v1/usage?bucket=total"),
        ("PUT", "/v1/entitlements/check"),
        ("POST", "/v1/entitlements"),
        ("POST", "/v1/usage/"),
        ("POST", "/v1/usage/events"),
        ("GET", "/v1/reservations"),
        ("POST", "/v1/reservations/rsv_1"),
        ("POST", "/v1/reservations/rsv_1/no-such"),
        ("GET", "/v1/reservations/rsv_1/commit"),
        ("POST", "/v1/subscriptions"),
        ("DELETE", "/v1/usage"),
        ("GET", "/livez"),
        ("GET", "/docs/api"),
    ],
)
def test_everything_else_reaches_core(alive: int, method: str, target: str) -> None:
    """The same path with another method too."""
    assert send(alive, method, target).text.startswith(f"core {method} {target} ")


@pytest.mark.parametrize("target", ["/metrics", "/metrics/", "//metrics", "/%6detrics?a=b"])
def test_figures_are_told_to_nobody(alive: int, target: str) -> None:
    """However they are asked for, they are not passed on."""
    answer = send(alive, "GET", target)
    assert (answer.status, json.loads(answer.text)["code"]) == (404, "not_found")


def test_a_body_of_four_mebibytes_passes(alive: int) -> None:
    """The largest batch that the edge takes."""
    assert send(alive, "POST", "/v1/usage/batch", b"x" * max(BODY_LIMITS.values())).status == 200


def test_what_the_proxy_refuses_is_a_problem_document(alive: int, lonely: int) -> None:
    """With the code's own status and title: too large, too long, no HTTP at all, and nobody there."""
    too_large = send(alive, "POST", "/v1/usage", b"x" * (9 << 20))
    too_long = send(alive, "GET", "/v1/usage?a=" + "x" * 40_000)
    no_host = send(alive, "GET", "/v1/usage", Host="two words")
    no_edge = send(lonely, "POST", "/v1/usage", b"{}")
    expected = {
        Code.BODY_TOO_LARGE: too_large,
        Code.HEADERS_TOO_LARGE: too_long,
        Code.MALFORMED_REQUEST: no_host,
        Code.EDGE_UNAVAILABLE: no_edge,
    }
    for code, answer in expected.items():
        document = json.loads(answer.text)
        assert (document["code"], document["type"]) == (code, f"/docs/errors#{code}")
        assert (answer.status, document["status"], document["title"]) == (MEANINGS[code][0], *MEANINGS[code])
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert document["instance"]
    assert no_edge.headers["Retry-After"] == str(RETRY_AFTER_SECONDS)


def test_core_may_be_away_for_a_moment(lonely: int) -> None:
    """The answer says to come again, as the edge's absence does."""
    answer = send(lonely, "POST", "/v1/subscriptions", b"{}")
    assert (answer.status, answer.headers["Retry-After"]) == (503, str(RETRY_AFTER_SECONDS))
    assert json.loads(answer.text)["title"] == "Core cannot be reached"
