"""Core and edge refuse the same mistake under the same code and in the same words."""

from typing import Any, NamedTuple

import pytest

from app.wire.codes import Code
from tests.flow.stack import Client
from tests.robustness.conftest import House
from tests.robustness.routes import assert_problem

pytestmark = pytest.mark.asyncio(loop_scope="session")

NO_FIELDS = {"The body", "This route"}
"""What a detail is about that is about no field."""
GRANT, USAGE, RESERVATION = "/v1/credits/grants", "/v1/usage", "/v1/reservations"
USER = '"end_user_id": "u"'
OF_FEATURE = f'{USER}, "feature_key": "f"'


class Case(NamedTuple):
    """A mistake as core's routes and the edge's can be sent it: path and body, or a path with its query."""

    name: str
    core: tuple[str, str | None]
    edge: tuple[str, str | None]
    code: Code
    errors: list[tuple[str, str]]
    """Field and message, where $ stands for the field that each has for it."""
    fields: tuple[str, str] = ("", "")


CASES = [
    Case(
        "missing",
        (GRANT, '{"amount": 1}'),
        (USAGE, '{"feature_key": "f"}'),
        Code.INVALID_BODY,
        [("end_user_id", "is required")],
    ),
    Case(
        "missing from the query",
        ("/v1/customers/u/credits/explain", None),
        ("/v1/entitlements", None),
        Code.INVALID_BODY,
        [("$", "is required")],
        ("amount", "end_user_id"),
    ),
    Case(
        "a number for a string",
        (GRANT, '{"end_user_id": 7, "amount": 1}'),
        (USAGE, '{"end_user_id": 7, "feature_key": "f"}'),
        Code.INVALID_BODY,
        [("end_user_id", "must be a string, not a number")],
    ),
    *(
        Case(
            f"{what} for a number",
            (GRANT, f'{{{USER}, "amount": {sent}}}'),
            (RESERVATION, f'{{{OF_FEATURE}, "credits": {sent}}}'),
            Code.INVALID_BODY,
            [("$", f"must be a number, not {what}")],
            ("amount", "credits"),
        )
        for sent, what in (('"1"', "a string"), ("true", "a boolean"), ("[1]", "an array"), ("{}", "an object"))
    ),
    Case(
        "seven decimals",
        (GRANT, f'{{{USER}, "amount": 0.0000001}}'),
        (RESERVATION, f'{{{OF_FEATURE}, "credits": 0.0000001}}'),
        Code.INVALID_VALUE,
        [("$", "must have at most 6 decimals")],
        ("amount", "credits"),
    ),
    Case(
        "an unknown field",
        (GRANT, f'{{{USER}, "amount": 1, "nmae": 1}}'),
        (USAGE, f'{{{OF_FEATURE}, "nmae": 1}}'),
        Code.UNKNOWN_FIELD,
        [("nmae", "is not a field of this request")],
    ),
    Case(
        "an unknown parameter",
        ("/v1/customers?nmae=1", None),
        ("/v1/entitlements?end_user_id=u&nmae=1", None),
        Code.UNKNOWN_FIELD,
        [("nmae", "is not a parameter of this route")],
    ),
    Case(
        "no moment",
        (GRANT, f'{{{USER}, "amount": 1, "expires_at": "soon"}}'),
        (USAGE, f'{{{OF_FEATURE}, "timestamp": "soon"}}'),
        Code.INVALID_VALUE,
        [("$", "must be a moment such as 2026-01-31T00:00:00Z")],
        ("expires_at", "timestamp"),
    ),
    Case(
        "a moment of nowhere",
        (GRANT, f'{{{USER}, "amount": 1, "expires_at": "2026-01-31T00:00:00"}}'),
        (USAGE, f'{{{OF_FEATURE}, "timestamp": "2026-01-31T00:00:00"}}'),
        Code.INVALID_VALUE,
        [("$", "must be a moment such as 2026-01-31T00:00:00Z, with its offset from UTC")],
        ("expires_at", "timestamp"),
    ),
    Case(
        "control characters",
        (GRANT, '{"end_user_id": "\\u0001", "amount": 1}'),
        (USAGE, '{"end_user_id": "\\u0001", "feature_key": "f"}'),
        Code.INVALID_VALUE,
        [("end_user_id", "must not hold control characters")],
    ),
    Case(
        "twice",
        (GRANT, f'{{{USER}, {USER}, "amount": 1}}'),
        (USAGE, f"{{{USER}, {OF_FEATURE}}}"),
        Code.INVALID_BODY,
        [("end_user_id", "is given more than once")],
    ),
    Case(
        "no object", (GRANT, "[]"), (USAGE, "[]"), Code.INVALID_BODY, [("The body", "must be an object, not an array")]
    ),
    Case(
        "nothing", (GRANT, ""), (USAGE, ""), Code.INVALID_BODY, [("This route", "takes a JSON body, and none was sent")]
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_a_mistake_is_called_the_same(house: House, case: Case) -> None:
    """Code, fields, messages, and the sentence that they make."""
    for url, (path, body), field in zip(
        (house.stack.core_url, house.stack.edge_url), (case.core, case.edge), case.fields, strict=True
    ):
        problem = await refusal(Client(house.session, url, house.key), path, body)
        errors = [(name.replace("$", field), message) for name, message in case.errors]
        assert problem["code"] == case.code, (path, problem)
        assert [f"{name} {message}." for name, message in errors] == [problem["detail"]], path
        named = [(error["field"], error["message"]) for error in problem.get("errors", [])]
        assert named == [error for error in errors if error[0] not in NO_FIELDS], path


async def refusal(client: Client, path: str, body: str | None) -> Any:
    """The problem document that a request is answered with."""
    headers = {"Content-Type": "application/json"}
    answer = await client.send("GET" if body is None else "POST", path, data=body, headers=headers)
    assert_problem(answer.status, answer.headers["Content-Type"], answer.body)
    return answer.body
