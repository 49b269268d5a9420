"""Schemathesis: what the OpenAPI document says is true of every operation, whatever is sent.

Requests that fit the document and requests that do not are made from it. No answer is a 5xx, every refusal is a whole
problem document, every answer has the form that is documented, and every change that is asked for twice is answered
twice alike. `pytest tests/robustness --schema-examples 500` does it at length, with other examples each time.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from requests import Session
from schemathesis import GenerationMode
from schemathesis.checks import negative_data_rejection
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok

from tests.flow.stack import SECRETS
from tests.isolation.shop import Names
from tests.robustness.conftest import House
from tests.robustness.routes import assert_problem, known_name

EXAMPLES = 5
"""Of each operation, of requests that fit and of requests that do not."""
TIMEOUT_SECONDS = 20
FITTING = ["2xx", "304", "402", "403", "404", "409", "412", "422"]
"""What may be answered to a request that fits the document: values may still not do."""
CHANGING = {"POST", "PUT", "PATCH", "DELETE"}
NOT_LOOKED_AT: list[HealthCheck] = list(HealthCheck)  # type: ignore[arg-type]
"""Making requests from a document is slow, and that is no matter here."""
SECRET = re.compile(rb'"(?:qs_(?:test|live)_\w{38}|whsec_[\w+/=]+)"')
"""Is shown once: the answer that is stored has null in its place."""
NOW = re.compile(rb"now \(\S+ by")
"""What a refused moment is told beside: it goes on, and what is refused as it stands is not stored."""
IN_BATCHES = {"/v1/usage", "/v1/usage/batch", "/api/v1/events", "/v1/entitlements/check"}


def with_known_names(case: Any, names: Names) -> None:
    """Ask for what is there: names that were made up lead to nothing but 404."""
    for parameter in case.path_parameters or {}:
        case.path_parameters[parameter] = names[known_name(case.path, parameter)]
    for members in (case.query, case.body):
        if isinstance(members, dict):
            for name in members.keys() & names.keys():
                members[name] = names[name]


def in_whole_numbers(value: Any) -> Any:
    """Whole numbers without a point: to JSON Schema 60.0 is an integer, to us it is not (docs/errors.md)."""
    if isinstance(value, dict):
        return {name: in_whole_numbers(member) for name, member in value.items()}
    if isinstance(value, list):
        return [in_whole_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def in_batches(case: Any) -> bool:
    """Whether what is wrong with one of many is said in a 2xx, beside what became of the others."""
    return case.method.upper() == "POST" and case.path in IN_BATCHES


class Asking:
    """Sends cases and looks at the answers."""

    def __init__(self, house: House, session: Session) -> None:
        self._house = house
        self._session = session
        self.mode = GenerationMode.POSITIVE

    def send(self, case: Any, **headers: str) -> Any:
        """One request."""
        token = SECRETS["ADMIN_TOKEN"] if case.path == "/v1/tenants" else self._house.key
        headers = {"Authorization": f"Bearer {token}", **headers}
        url = self._house.stack.core_url
        return case.call(base_url=url, headers=headers, session=self._session, timeout=TIMEOUT_SECONDS)

    def _excluded(self, case: Any) -> list[Any]:
        """What fits as we have changed it is not to be refused."""
        return [negative_data_rejection] if self.mode is GenerationMode.POSITIVE or in_batches(case) else []

    def check(self, case: Any) -> None:
        """One case: its answer, and the answer to the same again."""
        response = self.send(case)
        assert response.status_code < 500, response.text
        if response.status_code >= 400:
            assert_problem(response.status_code, response.headers["content-type"][0], response.json())
        try:
            case.validate_response(response, excluded_checks=self._excluded(case))
        except FailureGroup as group:
            reasons = "; ".join(f"{type(reason).__name__} {reason}" for reason in group.exceptions)
            raise AssertionError(f"{reasons}\n{response.text}\n{case.as_curl_command()}") from None
        if case.method.upper() in CHANGING and case.path != "/v1/tenants":
            again = {"Idempotency-Key": uuid4().hex, "X-Request-Id": "same"}
            one, other = self.send(case, **again), self.send(case, **again)
            first, second = NOW.sub(b"now", SECRET.sub(b"null", one.content)), NOW.sub(b"now", other.content)
            assert (one.status_code, first) == (other.status_code, second), (one.text, other.text)


def explore(asking: Asking, operation: Any, mode: GenerationMode, names: Names, examples: int) -> None:
    """Some cases of an operation."""
    asking.mode = mode

    @settings(
        max_examples=examples or EXAMPLES,
        derandomize=not examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=NOT_LOOKED_AT,
    )
    @given(operation.as_strategy(generation_mode=mode), st.booleans())
    def look(case: Any, is_known: bool) -> None:  # noqa: FBT001 - drawn
        if mode is GenerationMode.POSITIVE:
            case.body = in_whole_numbers(case.body)
            if is_known:
                with_known_names(case, names)
        asking.check(case)

    look()


def failures(operations: list[Any], run: Callable[[Any, GenerationMode], None]) -> Iterator[str]:
    """What is wrong, by operation; each is looked at whatever is wrong with others."""
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                run(operation, mode)
            except Exception as error:  # noqa: BLE001 - all are told at the end
                yield f"{operation.label} {mode.value}: {error}"


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_every_operation_does_what_its_document_says(house: House, request: pytest.FixtureRequest) -> None:
    """And afterwards the ledger is as right as before."""
    examples = int(request.config.getoption("--schema-examples") or 0)
    with Session() as session:
        document = session.get(f"{house.stack.core_url}/schema", timeout=TIMEOUT_SECONDS).json()
        schema = schemathesis.openapi.from_dict(document)
        schema.config.checks.positive_data_acceptance.expected_statuses = FITTING
        operations: list[Any] = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
        assert len(operations) > 70
        asking = Asking(house, session)
        found = list(
            failures(operations, lambda operation, mode: explore(asking, operation, mode, house.shop.names, examples))
        )
    assert not found, "\n\n".join(found)
    assert asyncio.run(house.stack.verify()).finding_count == 0
