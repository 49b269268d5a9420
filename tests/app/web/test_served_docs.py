"""What the product says of itself: the OpenAPI document, the page to read it with, where problems lead."""

import gzip
import re
from http import HTTPStatus

import pytest

from app.web.forward import HOT_ROUTES
from app.wire.codes import MEANINGS, Code
from tests.app.core import Core, Tenant

HOT = {(method.lower(), path.replace(":str", "")) for method, path in HOT_ROUTES}
PAGES = ["/docs", "/docs/credits", "/docs/credits.md", "/docs/cookbook/credit_packs.py", "/llms.txt"]
PAGES += ["/docs/api", "/docs/api/scalar.js", "/schema"]
KEYLESS = {"/v1/entitlements/check", "/v1/features/{key}/acquire", "/v1/features/{key}/release"}


async def test_the_document_is_openapi_3_1(core: Core) -> None:
    """With the hot routes, problem documents and idempotency keys, and every reference leading somewhere."""
    answer = await core.operator.http.get("/schema")
    assert answer.headers["content-type"] == "application/vnd.oai.openapi+json"
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    schemas = document["components"]["schemas"]
    assert set(re.findall(r'"#/components/schemas/([^"]+)"', answer.text)) <= set(schemas)
    operations = {(method, path): op for path, item in document["paths"].items() for method, op in item.items()}
    assert operations.keys() >= HOT | {("get", "/v1/usage"), ("post", "/v1/subscriptions")}
    for (method, path), operation in operations.items():
        problem = operation["responses"]["default"]["content"]["application/problem+json"]["schema"]
        assert problem == {"$ref": "#/components/schemas/Problem"}, path
        assert "400" not in operation["responses"], path
        names = {parameter["name"] for parameter in operation.get("parameters", [])}
        assert ("Idempotency-Key" in names) == (method != "get" and path not in KEYLESS), path
        assert operation["security"], path
        assert not names & {"reader", "mutation", "database", "clock", "redis", "asked", "principal"}, path
    assert "(?!" not in answer.text


async def test_amounts_are_numbers_in_the_document(core: Core) -> None:
    """A generated client sends and expects JSON numbers."""
    schemas = (await core.operator.http.get("/schema")).json()["components"]["schemas"]
    assert schemas["NewGrant"]["properties"]["amount"]["type"] == "number"
    assert schemas["UsageEvent"]["properties"]["units"]["type"] == "number"
    assert schemas["FlatPriceBody"]["properties"]["kind"] == {"type": "string", "const": "flat"}


async def test_the_document_says_what_is_answered(core: Core) -> None:
    """Nowhere only what the status means in general."""
    document = (await core.operator.get("/schema")).json()
    general = {status.description for status in HTTPStatus}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            said = {response["description"] for response in operation["responses"].values()}
            assert said.isdisjoint(general), (method, path)


async def test_cloud_events_are_in_the_document(core: Core) -> None:
    """By their media types, one and many, on both routes; what else they carry is allowed."""
    document = (await core.operator.http.get("/schema")).json()
    one, many = "application/cloudevents+json", "application/cloudevents-batch+json"
    event = {"$ref": "#/components/schemas/CloudEvent"}
    for path, plain in (
        ("/v1/usage", {"$ref": "#/components/schemas/UsageEvent"}),
        ("/api/v1/events", {"anyOf": [event, {"type": "array", "items": event, "maxItems": 1000}]}),
    ):
        content = document["paths"][path]["post"]["requestBody"]["content"]
        assert content[one]["schema"] == event
        assert content[many]["schema"] == {"type": "array", "items": event, "maxItems": 1000}
        assert content["application/json"]["schema"] == plain
    assert set(document["paths"]["/api/v1/events"]["post"]["responses"]) == {"202", "204", "default"}
    schema = document["components"]["schemas"]["CloudEvent"]
    assert schema["required"] == ["specversion", "id", "source", "type", "subject"]
    assert schema.get("additionalProperties", True) is True


async def test_the_page_asks_nobody_else(core: Core) -> None:
    """Its script is served by us, and the browser is told to load nothing from elsewhere."""
    answer = await core.operator.http.get("/docs/api")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "//" not in answer.text
    assert re.findall(r'src="([^"]+)"', answer.text) == ["/docs/api/scalar.js"]


async def test_the_script(core: Core) -> None:
    """Compressed for those who take it so, whole for the others, and the same."""
    packed = await core.operator.http.get("/docs/api/scalar.js", headers={"accept-encoding": "gzip"})
    plain = await core.operator.http.get("/docs/api/scalar.js", headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    assert len(gzip.compress(plain.content)) > 500_000
    assert b"@scalar/api-reference" in plain.content[:1000]


@pytest.mark.parametrize("path", PAGES)
async def test_who_keeps_a_page_asks_whether_it_is_still_so(core: Core, path: str) -> None:
    """The tag is that of the content: 304 without a body for who has it, weak or among others; else the whole."""
    http = core.operator.http
    whole = await http.get(path)
    kept = {name: whole.headers.get(name) for name in ("etag", "cache-control", "vary", "content-security-policy")}
    assert kept["cache-control"] == "public, no-cache"
    for sent in (kept["etag"], f'"other", W/{kept["etag"]}', "*"):
        answer = await http.get(path, headers={"if-none-match": str(sent)})
        assert (answer.status_code, answer.content) == (304, b""), sent
        assert {name: answer.headers.get(name) for name in kept} == kept
    other = await http.get(path, headers={"if-none-match": '"other"'})
    assert (other.status_code, other.content) == (200, whole.content)


async def test_each_form_of_a_page_has_a_tag_of_its_own(core: Core) -> None:
    """HTML and Markdown, packed and plain: under one tag, a cache would hand out the one for the other."""
    http = core.operator.http
    for path, forms in (
        ("/docs/credits", [{"accept": "text/html"}, {"accept": "text/markdown"}]),
        ("/docs/api/scalar.js", [{"accept-encoding": "gzip"}, {"accept-encoding": "identity"}]),
    ):
        one, other = [(await http.get(path, headers=form)).headers["etag"] for form in forms]
        assert one != other, path


@pytest.mark.parametrize("path", PAGES)
async def test_head_is_get_without_its_body(core: Core, path: str) -> None:
    """With the same headers, the length among them; 304 and 404 where GET has them."""
    http = core.operator.http
    got, asked = await http.get(path), await http.head(path)
    assert (asked.status_code, asked.content) == (200, b"")
    ours = {name: value for name, value in got.headers.items() if name != "x-request-id"}
    assert {name: value for name, value in asked.headers.items() if name != "x-request-id"} == ours
    known = await http.head(path, headers={"if-none-match": got.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert (await http.head("/docs/nothing")).status_code == 404


async def test_every_problem_leads_to_its_section(core: Core, tenant: Tenant) -> None:
    """The `type` of a problem, followed, is a page that explains the code; and each code has a page of its own."""
    problem = (await tenant.sandbox.get("/v1/customers/nobody")).json()
    page, _, anchor = problem["type"].partition("#")
    answer = await core.operator.http.get(page)
    assert answer.headers["content-type"].startswith("text/html")
    headings = re.findall(r'^<h3 id="(\w+)">', answer.text, re.MULTILINE)
    assert anchor in headings
    assert sorted(headings) == sorted(Code)
    for code in Code:
        own = await core.operator.http.get(f"{page}/{code}.md")
        assert own.text.startswith(f"# `{code}`\n\n{MEANINGS[code].title}.\n\n{MEANINGS[code].status}. "), code
        assert "**Do:**" in own.text, code
