"""The routes of the document, with a shop's names in their paths; and what a refusal looks like."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from app.wire.codes import MEANINGS, Code
from app.wire.problem import CONTENT_TYPE
from tests.isolation.shop import Names

METHODS = {"get", "post", "put", "patch", "delete"}
KNOWN_IN_PATHS = {
    "/v1/features/{key}/acquire": "gauge_key",
    "/v1/features/{key}/release": "gauge_key",
    "/v1/features/{key}": "feature_key",
    "/v1/plans/{key}": "plan_key",
    "/v1/topup-packages/{key}": "package_key",
    "/v1/usage/rejected/{event_id}": "rejected_event_id",
}
"""What a path parameter is called in a shop, where it is called otherwise; by the beginning of the path."""


def known_name(path: str, parameter: str) -> str:
    """Which of a shop's names a path parameter takes."""
    found = [name for start, name in KNOWN_IN_PATHS.items() if path.startswith(start)]
    return found[0] if found and parameter in {"key", "event_id"} else parameter


class Route(NamedTuple):
    """A route, and its path with a shop's names in it."""

    method: str
    path: str
    target: str
    takes_body: bool
    is_hot: bool


def routes(document: Any, names: Names) -> Iterator[Route]:
    """Every route of the document that takes an API key."""
    for path, item in document["paths"].items():
        for method in METHODS & item.keys():
            operation = item[method]
            if "Tenants" not in operation["tags"]:
                parameters = {name: names[known_name(path, name)] for name in re.findall(r"\{(\w+)\}", path)}
                target = path.format_map(parameters)
                yield Route(method.upper(), path, target, "requestBody" in operation, "Hot" in operation["tags"])


def assert_problem(status: int, content_type: str, problem: Any) -> None:
    """What is not 2xx is a whole problem document with a code that is known."""
    assert content_type == CONTENT_TYPE, (status, content_type, problem)
    code = Code(problem["code"])
    assert (status, problem["title"]) == MEANINGS[code]
    assert (problem["status"], problem["type"]) == (status, f"/docs/errors#{code}")
    assert problem["detail"]
    assert {"type", "title", "status", "detail", "instance", "code"} <= problem.keys()
