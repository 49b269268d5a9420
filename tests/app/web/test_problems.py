"""Whatever is sent, what is not 2xx is a problem document with the right code."""

import re
from typing import Any

import pytest
from redis.exceptions import ConnectionError as ConnectionRedisError

from app.wire.codes import MEANINGS, Code
from tests.app.core import Core, Tenant

BODIES: list[tuple[bytes, Code, str | None]] = [
    (b"", Code.INVALID_BODY, None),
    (b"null", Code.INVALID_BODY, None),
    (b"[]", Code.INVALID_BODY, None),
    (b'{"key": "f"', Code.MALFORMED_JSON, None),
    (b'{"key": "f", "name": NaN}', Code.MALFORMED_JSON, None),
    (b'{"key": "f", "name": "\xff"}', Code.MALFORMED_JSON, None),
    (b'{"key": "f", "name": "\\ud800"}', Code.MALFORMED_JSON, None),
    (b"[" * 100_000, Code.INVALID_BODY, None),
    (b'{"price": ' + b"[" * 100_000, Code.INVALID_BODY, "price"),
    (b'{"key": "f"}', Code.INVALID_BODY, "name"),
    (b'{"key": "f", "name": 1}', Code.INVALID_BODY, "name"),
    (b'{"key": "F", "name": "F"}', Code.INVALID_VALUE, "key"),
    (b'{"key": "f\\n", "name": "F"}', Code.INVALID_VALUE, "key"),
    (b'{"key": "f", "name": ""}', Code.INVALID_VALUE, "name"),
    (b'{"key": "f", "name": "a\\u0000b"}', Code.INVALID_VALUE, "name"),
    (b'{"key": "f", "name": "F", "kind": "counter"}', Code.INVALID_VALUE, "kind"),
    (b'{"key": "f", "name": "F", "nmae": 1}', Code.UNKNOWN_FIELD, "nmae"),
    (b'{"key": "f", "name": "F", "price": {"kind": "flat", "amount": 1, "per": 1}}', Code.UNKNOWN_FIELD, "price.per"),
    (b'{"key": "f", "name": "F", "price": {"kind": "cubic"}}', Code.INVALID_VALUE, "price.kind"),
    (b'{"key": "f", "name": "F", "price": {"kind": "flat"}}', Code.INVALID_BODY, "price.amount"),
    (b'{"key": "f", "name": "F", "price": {"kind": "flat", "amount": "1"}}', Code.INVALID_BODY, "price.amount"),
    (b'{"key": "f", "name": "F", "price": {"kind": "flat", "amount": true}}', Code.INVALID_BODY, "price.amount"),
    (b'{"key": "f", "name": "F", "price": {"kind": "flat", "amount": 1e99}}', Code.INVALID_VALUE, "price.amount"),
    (b'{"key": "f", "name": "F", "price": {"kind": "flat", "amount": 1e-7}}', Code.INVALID_VALUE, "price.amount"),
    (
        b'{"key": "f", "name": "F", "price": {"kind": "flat", "amount": 1e%s}}' % (b"9" * 20),
        Code.INVALID_VALUE,
        "price.amount",
    ),
    (b'{"key": "f", "name": "F", "price": {"kind": "flat", "amount": -1}}', Code.INVALID_VALUE, "price.amount"),
]
QUERIES: list[tuple[str, Code, str | None]] = [
    ("/v1/features?limt=1", Code.UNKNOWN_FIELD, "limt"),
    ("/v1/features?limit=0", Code.INVALID_VALUE, "limit"),
    ("/v1/features?limit=1001", Code.INVALID_VALUE, "limit"),
    ("/v1/features?limit=one", Code.INVALID_BODY, "limit"),
    ("/v1/features?cursor=%21", Code.INVALID_VALUE, "cursor"),
    ("/v1/features?cursor=AAAA", Code.INVALID_VALUE, "cursor"),
    ("/v1/usage?from=yesterday", Code.INVALID_VALUE, "from"),
    ("/v1/usage?from=2026-01-01T00:00:00", Code.INVALID_VALUE, "from"),
    ("/v1/usage?from=0001-01-01T00:00:00%2B23:59", Code.INVALID_VALUE, "from"),
    ("/v1/usage?to=0001-01-01T00:00:00Z", Code.INVALID_VALUE, "from"),
    ("/v1/usage?bucket=week", Code.INVALID_VALUE, "bucket"),
    ("/v1/usage?end_user_id=a%00b", Code.INVALID_VALUE, "end_user_id"),
    ("/v1/usage/events", Code.INVALID_BODY, "end_user_id"),
    ("/v1/features/a%00b", Code.INVALID_VALUE, "key"),
    ("/v1/customers/%ff", Code.INVALID_VALUE, "end_user_id"),
    ("/v1/features/none", Code.UNKNOWN_FEATURE, None),
    ("/v1/plans/none", Code.NOT_FOUND, None),
    ("/v1/customers/nobody", Code.UNKNOWN_CUSTOMER, None),
    ("/v1/subscriptions/sub_1", Code.NOT_FOUND, None),
    ("/v1/usage/events/evt_x", Code.NOT_FOUND, None),
    ("/v1/nothing", Code.NOT_FOUND, None),
    ("/", Code.NOT_FOUND, None),
]


PYTHON = re.compile(r"Expected|`(int|str|float|bool|array|datetime)\b|[<>]=|\bregex\b|RFC3339")
"""What is said of values where nobody put it into a client's words."""


def assert_problem(answer: Any, code: Code, field: str | None = None) -> Any:
    """The answer is a whole problem document with this code; `field` is what its errors name."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert body["code"] == code, body
    assert (answer.status_code, body["title"]) == MEANINGS[code]
    assert body["status"] == answer.status_code
    assert body["type"] == f"/docs/errors#{code}"
    assert body["detail"]
    assert not PYTHON.search(body["detail"]), body["detail"]
    assert body["instance"] == answer.headers["x-request-id"]
    assert [error["field"] for error in body.get("errors", [])] == ([] if field is None else [field])
    return body


async def test_bodies_that_do_not_fit(tenant: Tenant) -> None:
    """Each is refused by name, and nothing is made."""
    for content, code, field in BODIES:
        headers = {"content-type": "application/json", "idempotency-key": "k"}
        answer = await tenant.sandbox.send("POST", "/v1/features", content=content, headers=headers)
        assert_problem(answer, code, field)
    assert (await tenant.sandbox.read("/v1/features"))["data"] == []


BOUNDS = [
    ("/v1/features", {"key": "f", "name": ""}, "name must have at least 1 character."),
    ("/v1/features", {"key": "f", "name": "x" * 201}, "name must have at most 200 characters."),
    ("/v1/credits/grants", {"end_user_id": "u", "amount": 1, "priority": -1}, "priority must be at least 0."),
    ("/v1/credits/grants", {"end_user_id": "u", "amount": 1, "priority": 1001}, "priority must be at most 1000."),
    (
        "/v1/webhook-deliveries/replay",
        {"webhook_endpoint_id": "x", "event_ids": []},
        "event_ids must have at least 1 item.",
    ),
    (
        "/v1/credits/grants",
        {"end_user_id": "u", "amount": 1, "expires_at": "2099-01-01T00:00:00"},
        "expires_at must be a moment such as 2026-01-31T00:00:00Z, with its offset from UTC.",
    ),
]


@pytest.mark.parametrize(("path", "body", "detail"), BOUNDS)
async def test_values_beyond_their_bounds(tenant: Tenant, path: str, body: Any, detail: str) -> None:
    """The answer says how large or long they may be, in words."""
    answer = await tenant.sandbox.post(path, body)
    assert assert_problem(answer, Code.INVALID_VALUE, detail.partition(" ")[0])["detail"] == detail


async def test_malformed_json_says_where(tenant: Tenant) -> None:
    """The byte at which reading stopped."""
    answer = await tenant.sandbox.send("POST", "/v1/features", content=b'{"key": x}')
    assert assert_problem(answer, Code.MALFORMED_JSON)["context"] == {"position": 8}


@pytest.mark.parametrize(("path", "code", "field"), QUERIES)
async def test_paths_and_queries_that_do_not_fit(tenant: Tenant, path: str, code: Code, field: str | None) -> None:
    """Unknown parameters are refused, so that a misspelt filter does not answer what nobody asked."""
    assert_problem(await tenant.sandbox.get(path), code, field)


NO_SPANS = [
    ("GET", "/v1/usage", ("2028-01-01T00:00:00+01:00", "2027-01-01T00:00:00Z"), "2027-12-31T23:00:00Z"),
    ("GET", "/v1/usage", ("2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z"), "2027-01-01T00:00:00Z"),
    ("GET", "/v1/usage", ("9999-01-01T00:00:00Z", None), "9999-01-01T00:00:00Z"),
    ("GET", "/v1/audit-log", ("2028-01-01T00:00:00Z", "2027-01-01T00:00:00Z"), "2028-01-01T00:00:00Z"),
    ("POST", "/v1/webhook-deliveries/replay", ("2028-01-01T00:00:00Z", "2027-01-01T00:00:00Z"), "2028-01-01T00:00:00Z"),
    ("POST", "/v1/webhook-deliveries/replay", ("9999-01-01T00:00:00Z", None), "9999-01-01T00:00:00Z"),
]


@pytest.mark.parametrize(("method", "path", "span", "said"), NO_SPANS)
async def test_spans_in_which_nothing_can_lie(
    tenant: Tenant, method: str, path: str, span: tuple[str, str | None], said: str
) -> None:
    """Whatever takes a `from` and a `to` says which both are, also the one that was left out, and what to do."""
    begin, end = span
    sent = {"from": begin} | ({} if end is None else {"to": end})
    if method == "GET":
        answer = await tenant.sandbox.get(path, **sent)
    else:
        endpoint = await tenant.sandbox.made("/v1/webhook-endpoints", {"url": "https://hooks.example.com/"})
        answer = await tenant.sandbox.post(path, sent | {"webhook_endpoint_id": endpoint["webhook_endpoint_id"]})
    detail = assert_problem(answer, Code.INVALID_VALUE, "from")["detail"]
    assert detail.startswith(f"from must lie before to: from is {said}, and to is {end or '2'}")
    assert detail.endswith("Send an earlier from, or a later to.")


async def test_every_span_is_looked_at(tenant: Tenant) -> None:
    """No route has a `from` that the cases above leave out."""
    document = await tenant.sandbox.read("/schema")
    found = set[tuple[str, str]]()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            names = {parameter["name"] for parameter in operation.get("parameters", [])}
            for body in re.findall(r"schemas/(\w+)", str(operation.get("requestBody"))):
                names |= set(document["components"]["schemas"][body].get("properties", {}))
            if "from" in names:
                found.add((method.upper(), path))
    assert found == {(method, path) for method, path, *_ in NO_SPANS}


CHOICES = [
    (b'{"key": "f", "name": "F", "kind": "counter"}', "kind", ["metered", "boolean", "static", "gauge"]),
    (b'{"key": "f", "name": "F", "price": {"kind": "cubic"}}', "price.kind", ["flat", "per_unit", "volume"]),
]


@pytest.mark.parametrize(("content", "field", "choices"), CHOICES)
async def test_bodies_with_none_of_the_choices(tenant: Tenant, content: bytes, field: str, choices: list[str]) -> None:
    """The answer says which there are."""
    answer = await tenant.sandbox.send("POST", "/v1/features", content=content)
    [error] = assert_problem(answer, Code.INVALID_VALUE, field)["errors"]
    assert set(choices) <= set(re.findall(r"\w+", error["message"]))


async def test_queries_with_none_of_the_choices(tenant: Tenant) -> None:
    """Whatever route has such a parameter: it is named as it was sent, and the answer says which values there are."""
    document = await tenant.sandbox.read("/schema")
    tried = 0
    for path, operations in document["paths"].items():
        for parameter in operations.get("get", {}).get("parameters", []):
            if choices := _choices(parameter.get("schema", {}), document["components"]["schemas"]):
                tried += 1
                answer = await tenant.sandbox.get(path, **{parameter["name"]: "nonesuch"})
                [error] = assert_problem(answer, Code.INVALID_VALUE, parameter["name"])["errors"]
                listed = error["message"].removeprefix("must be one of ").removesuffix(", not 'nonesuch'")
                assert sorted(listed.split(", ")) == sorted(choices)
    assert tried >= 5


def _choices(schema: Any, schemas: Any) -> list[str]:
    """What the document says a parameter may be, where it says so."""
    for each in (schema, *schema.get("oneOf", [])):
        named = schemas[each["$ref"].rpartition("/")[2]] if "$ref" in each else each
        if "enum" in named:
            return [choice for choice in named["enum"] if choice is not None]
    return []


@pytest.mark.parametrize("path", ["/", "/v1/nothing", "/favicon.ico"])
async def test_who_is_at_the_wrong_place_is_shown_the_right_one(tenant: Tenant, path: str) -> None:
    """Whatever was asked for: the answer names pages that are there."""
    detail = assert_problem(await tenant.sandbox.get(path), Code.NOT_FOUND)["detail"]
    assert detail == f"There is no route {path}; /docs explains the API, and /docs/api lists it."
    for page in ("/docs", "/docs/api"):
        assert (await tenant.sandbox.get(page)).status_code == 200


async def test_methods_that_a_route_does_not_take(tenant: Tenant) -> None:
    """The answer lists those that it takes."""
    answer = await tenant.sandbox.send("DELETE", "/v1/features")
    assert_problem(answer, Code.METHOD_NOT_ALLOWED)
    assert {"GET", "POST"} <= set(answer.headers["allow"].split(", "))


async def test_bodies_that_are_too_large(tenant: Tenant) -> None:
    """With and without a length said beforehand."""

    async def chunks() -> Any:
        for _ in range(3):
            yield b" " * 500_000

    for content in (b" " * 1_100_000, chunks()):
        answer = await tenant.sandbox.send("POST", "/v1/features", content=content)
        assert_problem(answer, Code.BODY_TOO_LARGE)


async def test_bodies_that_are_not_json(tenant: Tenant) -> None:
    """A body that says of itself that it is something else is not read."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = await tenant.sandbox.send("POST", "/v1/features", content=b"key=f", headers=headers)
    assert_problem(answer, Code.UNSUPPORTED_MEDIA_TYPE)
    for kind in ("application/json; charset=utf-8", "application/vnd.acme+json"):
        content = b'{"key": "k%d", "name": "K"}' % len(kind)
        answer = await tenant.sandbox.send("POST", "/v1/features", content=content, headers={"content-type": kind})
        assert answer.status_code == 201, answer.text


async def test_our_own_faults_show_nothing(core: Core, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception is logged and answered without a word of it."""

    async def fail(*_: object, **__: object) -> None:
        message = "secret detail"
        raise ZeroDivisionError(message)

    monkeypatch.setattr(core.parts.database, "run", fail)
    answer = await core.operator.post("/v1/tenants", {"name": "x"})
    assert "secret" not in str(assert_problem(answer, Code.INTERNAL_ERROR))
    assert tenant


async def test_a_redis_that_is_away(core: Core, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a balance answers 503; granting stands, and says that the balance is not known."""
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "u"})
    monkeypatch.setattr(core.parts.redis.client.connection_pool, "get_connection", _refuse)
    answer = await tenant.sandbox.get("/v1/customers/u/credits")
    assert_problem(answer, Code.STORE_UNAVAILABLE)
    assert answer.headers["retry-after"] == "1"
    granted = await tenant.sandbox.made("/v1/credits/grants", {"end_user_id": "u", "amount": 1})
    assert granted["balance"] is None
    assert_problem(await core.operator.get("/readyz"), Code.STORE_UNAVAILABLE)
    monkeypatch.undo()
    assert (await tenant.sandbox.read("/v1/customers/u/credits"))["balance"] == 1


async def _refuse(*_: object, **__: object) -> None:
    raise ConnectionRedisError
