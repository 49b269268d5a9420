"""The OpenAPI 3.1 document: what Litestar knows of core's routes, the hot routes, and what an error looks like."""

import re
from collections.abc import Callable
from inspect import cleandoc
from typing import Any, cast

import msgspec
from litestar import Litestar, Response
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme, Tag
from litestar.routes import HTTPRoute
from litestar.typing import FieldDefinition

from app.web.amounts import Amount
from app.web.bodies import JSON, encode
from app.web.hot_schemas import BODIES
from app.web.principal import ADMIN_SECURITY, SECURITY
from app.wire.problem import CONTENT_TYPE, Problem

VERSION = "0.1.0"
_REFERENCE = "#/components/schemas/{name}"
_PAGE_NAME = re.compile(rb"Page_app\.[a-z.]+\.(\w+)Body_")
"""Litestar names a page after the module of what is on it."""
_LOOKAHEAD = rb"$(?!\\n)"
"""Python needs it, other dialects do not, and some cannot read it (see `web.fields`)."""
_CHANGING = ("post", "put", "patch", "delete")
_WITHOUT_KEY = ("CheckEntitlements", "AcquireGauge", "ReleaseGauge")
"""They change nothing, or are safe to repeat as they are."""
_OPEN = ("CloudEvent",)
"""Has extension attributes, of whatever name."""
_METHODS = ("get", "post", "put", "patch", "delete")
_DESCRIPTION = """\
Credits, entitlements and usage metering. Send an API key as `Authorization: Bearer qs_test_…` (sandbox) or `qs_live_…`.

Every `POST`, `PUT`, `PATCH` and `DELETE` that is not safe to repeat takes an `Idempotency-Key`: the same request under
the same key has one effect, and the same answer.

How many requests a key and its environment have left is in `RateLimit` of every answer; beyond that, 429 with
`Retry-After`."""


def make_config() -> OpenAPIConfig:
    """What stands at the head of the document."""
    return OpenAPIConfig(
        title="QuotaStack",
        version=VERSION,
        description=_DESCRIPTION,
        use_handler_docstrings=True,
        tags=[
            Tag(name)
            for name in (
                *(
                    "Hot",
                    "Features",
                    "Plans",
                    "Environment",
                    "API keys",
                    "Subscriptions",
                    "Customers",
                    "Credits",
                    "Top-ups",
                    "Webhooks",
                    "Usage",
                    "Audit log",
                ),
            )
        ],
        components=Components(
            security_schemes={
                "bearer": SecurityScheme(type="http", scheme="bearer", description="An API key."),
                "api_key": SecurityScheme(type="apiKey", name="X-API-Key", security_scheme_in="header"),
                "admin": SecurityScheme(type="http", scheme="bearer", description="ADMIN_TOKEN, for operators."),
            }
        ),
    )


def make_document(application: Litestar) -> bytes:
    """The document of an application that was made with `make_config()`."""
    document = application.openapi_schema.to_schema()
    _, components = msgspec.json.schema_components([*BODIES, Problem], schema_hook=_schema, ref_template=_REFERENCE)
    for schema in components.values():
        if "description" in schema:
            schema["description"] = cleandoc(schema["description"])
    document["components"]["schemas"].update(components)
    for path, operations in _hot_paths().items():
        document["paths"].setdefault(path, {}).update(operations)
    _widen(document)
    _describe_answers(application, document["paths"])
    for path in document["paths"].values():
        for method in _METHODS:
            if method in path:
                _finish(method, path[method])
                _close(path[method].get("requestBody"), document["components"]["schemas"])
    return _PAGE_NAME.sub(rb"\1Page", encode(document)).replace(_LOOKAHEAD, b"$")


def _describe_answers(application: Litestar, paths: dict[str, Any]) -> None:
    """Say what is answered, as its struct does in its first sentence: Litestar says what a status means in general."""
    for route in application.routes:
        if isinstance(route, HTTPRoute):
            operations = paths.get(route.path_format, {})
            for method, (handler, _) in route.route_handler_map.items():
                if method.lower() in operations:
                    response = operations[method.lower()]["responses"][str(handler.status_code)]
                    response["description"] = _first_sentence(handler.parsed_fn_signature.return_type)


def _first_sentence(answered: FieldDefinition) -> str:
    """Of what is said of an answer's body."""
    body = answered.inner_types[0] if answered.is_subclass_of(Response) else answered
    said = (body.origin or body.annotation).__doc__ or ""
    return re.split(r"(?<=\.)\s", said.strip(), maxsplit=1)[0]


def _finish(method: str, operation: dict[str, Any]) -> None:
    """Every operation answers problems; everything that changes something takes an idempotency key."""
    operation["responses"].pop("400", None)
    schema = {"$ref": _REFERENCE.format(name="Problem")}
    operation["responses"]["default"] = {
        "description": "A problem document (RFC 9457); its `code` is explained at /docs/errors.",
        "content": {CONTENT_TYPE: {"schema": schema}},
    }
    keyless = operation.get("operationId") in _WITHOUT_KEY
    if method in _CHANGING and operation.get("security") in (SECURITY, ADMIN_SECURITY) and not keyless:
        key = {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        }
        operation["parameters"] = [*operation.get("parameters", []), key]


def _widen(node: object) -> None:
    """Where anything may stand, null may: `oneOf` would refuse a null that two of its schemas take."""
    if isinstance(node, list):
        for item in cast("list[object]", node):
            _widen(item)
    elif isinstance(node, dict):
        found = cast("dict[str, Any]", node)
        if {} in found.get("oneOf", ()):
            del found["oneOf"]
        for item in found.values():
            _widen(item)


def _close(node: object, schemas: dict[str, Any]) -> None:
    """Say of whatever is sent that it has no other members: a misspelt one is refused by name."""
    if isinstance(node, list):
        for item in cast("list[object]", node):
            _close(item, schemas)
    elif isinstance(node, dict):
        found = cast("dict[str, Any]", node)
        name = found.get("$ref", "").rpartition("/")[2]
        if name in schemas and name not in _OPEN and "additionalProperties" not in schemas[name]:
            if schemas[name].get("type") == "object":
                schemas[name]["additionalProperties"] = False
            _close(schemas[name], schemas)
        for item in found.values():
            _close(item, schemas)


def _hot_paths() -> dict[str, Any]:
    user, feature = _parameter("end_user_id"), _parameter("feature_key")
    units = _parameter("units", required=False, schema={"type": "number", "default": 1})
    properties = {
        "name": "properties",
        "in": "query",
        "required": False,
        "description": "A JSON object, as usage has it: a price may be for some properties only.",
        "content": {JSON: {"schema": {"type": "object"}, "example": {"model": "large"}}},
    }
    check = _operation("May this customer use this feature now?", "CheckEntitlement", "200", "CheckAnswer")
    check_many = _operation("Up to 100 checks at once", "CheckEntitlements", "200", "CheckBatchAnswer", "CheckBatch")
    listing = _operation("Every feature of a customer", "ListEntitlements", "200", "Entitlements")
    record = _operation("Record usage", "RecordUsage", "202", "UsageAccepted", "UsageEvent")
    accepted = {"anyOf": [_reference("UsageAccepted"), _reference("BatchAccepted")]}
    record["requestBody"]["content"] |= _CLOUD_EVENTS
    record["responses"]["202"]["content"][JSON]["schema"] = accepted
    emit = _operation("Record CloudEvents, as sent to OpenMeter", "EmitEvents", "202", "BatchAccepted", "CloudEvent")
    emit["requestBody"]["content"] |= _CLOUD_EVENTS
    emit["requestBody"]["content"][JSON]["schema"] = {"anyOf": [_reference("CloudEvent"), _CLOUD_EVENT_LIST]}
    emit["responses"]["202"]["description"] = "Some were refused"
    emit["responses"]["204"] = {"description": "All were recorded"}
    batch = _operation("Record up to 1000 events", "RecordUsageBatch", "202", "BatchAccepted", "UsageBatch")
    acquire = _operation("Hold units of a gauge", "AcquireGauge", "200", "Acquired", "Acquisition")
    release = _operation("Give back what is held of a gauge", "ReleaseGauge", "200", "Released", "GaugeRelease")
    listing["responses"]["304"] = {"description": "Nothing has changed since the tag of If-None-Match"}
    key = {"parameters": [_parameter("key", place="path")]}
    return {
        "/v1/entitlements": {
            "get": {**listing, "parameters": [user, _parameter("If-None-Match", "header", required=False)]}
        },
        "/v1/entitlements/check": {
            "get": {**check, "parameters": [user, feature, units, properties]},
            "post": check_many,
        },
        "/v1/usage": {"post": record},
        "/v1/usage/batch": {"post": batch},
        "/v1/features/{key}/acquire": {"post": {**acquire, **key}},
        "/v1/features/{key}/release": {"post": {**release, **key}},
        "/api/v1/events": {"post": emit},
        **_reservation_paths(),
    }


def _reservation_paths() -> dict[str, Any]:
    identified = {
        "parameters": [{"name": "reservation_id", "in": "path", "required": True, "schema": {"type": "string"}}]
    }
    opening = _operation("Reserve credit", "Reserve", "201", "ReservationOpened", "NewReservation")
    commit = _operation(
        "Charge what was really used", "CommitReservation", "200", "ReservationEnded", "ReservationCommit"
    )
    release = _operation("Give all of it back", "ReleaseReservation", "200", "ReservationEnded")
    extend = _operation(
        "Have it fall due later", "ExtendReservation", "200", "ReservationExtended", "ReservationExtension"
    )
    show = _operation("Show a reservation", "ShowReservation", "200", "Reservation")
    for operation in (commit, extend):
        operation["requestBody"]["required"] = False
    path = "/v1/reservations/{reservation_id}"
    return {
        "/v1/reservations": {"post": opening},
        f"{path}/commit": {"post": commit | identified},
        f"{path}/release": {"post": release | identified},
        f"{path}/extend": {"post": extend | identified},
        path: {"get": show | identified},
    }


def _parameter(
    name: str, place: str = "query", *, required: bool = True, schema: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {"name": name, "in": place, "required": required, "schema": schema or {"type": "string"}}


def _operation(summary: str, operation_id: str, status: str, answer: str, body: str | None = None) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": summary,
        "operationId": operation_id,
        "tags": ["Hot"],
        "security": SECURITY,
        "responses": {status: {"description": summary, "content": _content(answer)}},
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _content(body)}
    return operation


def _content(name: str) -> dict[str, Any]:
    return {JSON: {"schema": _reference(name)}}


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": _REFERENCE.format(name=name)}


_CLOUD_EVENT_LIST = {"type": "array", "items": _reference("CloudEvent"), "maxItems": 1000}
_CLOUD_EVENTS = {
    "application/cloudevents+json": {"schema": _reference("CloudEvent")},
    "application/cloudevents-batch+json": {"schema": _CLOUD_EVENT_LIST},
}


def _schema(kind: type) -> dict[str, Any]:
    if not issubclass(kind, Amount):
        raise NotImplementedError
    return {"type": "number"}


class Document:
    """The document, made when it is first asked for."""

    def __init__(self, make: Callable[[], Litestar]) -> None:
        self._make = make
        self._content: bytes | None = None

    def content(self) -> bytes:
        """The document as JSON."""
        if self._content is None:
            self._content = make_document(self._make())
        return self._content
