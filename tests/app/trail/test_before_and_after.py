"""What the audit log says of how a subject was and is: what the API itself showed of it then."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.app.core import Core
from tests.app.schema.catalogue import connected
from tests.app.subscriptions.studio import Studio
from tests.app.trail.examples import EXAMPLES, Call
from tests.app.trail.log import read_changes
from tests.app.trail.test_every_mutation import send
from tests.conftest import DatabaseUrls

pytestmark = pytest.mark.usefixtures("flusher")


class Subject(NamedTuple):
    """What a route changes, as the log names it, and where it is shown; `{id}` is the last part of the call's path."""

    kind: str
    id: str
    shown_at: str


SUBJECTS = {
    "PATCH /v1/features/{key}": Subject("feature", "f", "/v1/features/f"),
    "PATCH /v1/plans/{key}": Subject("plan", "p", "/v1/plans/p"),
    "POST /v1/plans/{key}/variants/{variant_key}/versions": Subject("plan_variant", "p/v", "/v1/plans/p/variants/v"),
    "PATCH /v1/topup-packages/{key}": Subject("topup_package", "k", "/v1/topup-packages/k"),
    "PUT /v1/customers/{end_user_id}/overrides/{feature_key}": Subject(
        "override", "u/f", "/v1/customers/u/overrides/f"
    ),
    "DELETE /v1/customers/{end_user_id}/overrides/{feature_key}": Subject(
        "override", "u/f", "/v1/customers/u/overrides/f"
    ),
    "POST /v1/features": Subject("feature", "f", "/v1/features/f"),
    "POST /v1/plans": Subject("plan", "p", "/v1/plans/p"),
    "POST /v1/customers": Subject("customer", "u", "/v1/customers/u"),
    "POST /v1/test-clock/freeze": Subject("test_clock", "{environment}", "/v1/test-clock"),
    "POST /v1/test-clock/reset": Subject("test_clock", "{environment}", "/v1/test-clock"),
    "PATCH /v1/environment": Subject("environment", "{environment}", "/v1/environment"),
    "PATCH /v1/api-keys/{api_key_id}": Subject("api_key", "{id}", "/v1/api-keys/{id}"),
    "PATCH /v1/webhook-endpoints/{webhook_endpoint_id}": Subject(
        "webhook_endpoint", "{id}", "/v1/webhook-endpoints/{id}"
    ),
    "DELETE /v1/webhook-endpoints/{webhook_endpoint_id}": Subject(
        "webhook_endpoint", "{id}", "/v1/webhook-endpoints/{id}"
    ),
    **{
        route: Subject("subscription", "{owner}", "/v1/subscriptions/{owner}")
        for route in EXAMPLES
        if "/v1/subscriptions/{subscription_id}/" in route
    },
}
MOVES_CREDIT = (
    *("POST /v1/credits/grants", "POST /v1/credits/adjustments", "POST /v1/credits/overage-billings"),
    *("POST /v1/topups", "POST /v1/credits/voids", "POST /v1/usage/events/{event_id}/void"),
)


def fill_in(text: str, call: Call, studio: Studio) -> str:
    """The text with the names that this call has."""
    owner, last = call.path.split("/")[-2:]
    environment = studio.tenant.made["sandbox_environment_id"]
    return text.replace("{id}", last).replace("{owner}", owner).replace("{environment}", environment)


async def show(studio: Studio, path: str) -> Any:
    """What the API shows there; None where there is nothing."""
    answer = await studio.client.get(path)
    return answer.json() if answer.status_code == 200 else None


@pytest.mark.parametrize("route", SUBJECTS)
async def test_what_was_shown_before_and_is_now(core: Core, urls: DatabaseUrls, route: str) -> None:
    """Nothing where it was made, nothing where it is gone; it is found under its own name."""
    studio, subject = Studio(core, await core.tenant(), urls), SUBJECTS[route]
    call = await EXAMPLES[route].prepare(studio)
    path, subject_id = fill_in(subject.shown_at, call, studio), fill_in(subject.id, call, studio)
    before = await show(studio, path)
    answer = await send(studio.client, route, call.path, call.body)
    assert answer.status_code == EXAMPLES[route].status, answer.text
    after = await show(studio, path)
    row = (await read_changes(urls, studio.tenant.environment_id))[-1]
    assert (row["route"], row["subject_kind"], row["subject_id"]) == (route, subject.kind, subject_id)
    assert (row["before"], row["after"]) == (before, after)
    assert before != after
    query = {"subject_kind": subject.kind, "subject_id": subject_id}
    [newest, *_] = (await studio.client.read("/v1/audit-log", **query))["data"]
    assert (newest["before"], newest["after"]) == (before, after)


@pytest.mark.parametrize("route", MOVES_CREDIT)
async def test_credit_that_moved(core: Core, urls: DatabaseUrls, route: str) -> None:
    """Before it, the ledger's total; after it, what was answered."""
    studio = Studio(core, await core.tenant(), urls)
    call = await EXAMPLES[route].prepare(studio)
    total = await studio.total()
    answer = await send(studio.client, route, call.path, call.body)
    row = (await read_changes(urls, studio.tenant.environment_id))[-1]
    assert (row["route"], row["before"], row["after"]) == (route, {"total": total}, answer.json())


async def test_a_clock_says_where_it_stood(core: Core, urls: DatabaseUrls) -> None:
    """Before it was moved on, and where it came to."""
    studio = Studio(core, await core.tenant(), urls)
    call = await EXAMPLES["POST /v1/test-clock/advance"].prepare(studio)
    before = await studio.client.read("/v1/test-clock")
    answer = await send(studio.client, "POST /v1/test-clock/advance", call.path, call.body)
    row = (await read_changes(urls, studio.tenant.environment_id))[-1]
    assert (row["before"], row["after"]) == (before, answer.json())


async def test_every_row_names_its_subject(core: Core, urls: DatabaseUrls, repository: Path) -> None:
    """No route of ours leaves it to the reader to find out what it changed, and the page has each kind."""
    for route, example in EXAMPLES.items():
        if not example.is_of_operator:
            studio = Studio(core, await core.tenant(), urls)
            call = await example.prepare(studio)
            assert (await send(studio.client, route, call.path, call.body)).status_code == example.status
    async with connected(urls.owner) as connection:
        rows = await connection.fetch("SELECT route, subject_kind FROM audit_log")
    assert {row["route"] for row in rows} == {"POST /v1/tenants", *EXAMPLES}
    page = (repository / "docs" / "audit.md").read_text()
    assert [row["route"] for row in rows if f"`{row['subject_kind']}`" not in page] == []
