"""GET /v1/audit-log: what it finds, in which order, in which form, and who may ask."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.io.ids import new_id
from app.io.postgres import Database, Transaction
from app.io.statements import statements
from app.trail import reading
from app.trail.reading import Asked, write_cells
from app.trail.schemas import AuditEntryBody
from app.trail.store import AuditRow, insert_audit
from app.wire.codes import Code
from app.wire.ids import show
from tests.app.core import Core, Tenant
from tests.app.schema.catalogue import connected
from tests.app.trail.log import MAKING
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls

PATH = "/v1/audit-log"
SQL = statements("app.trail")
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
ADA, BEN = (show("key", UUID(int=number)) for number in (1, 2))


def make_row(number: int, **changed: Any) -> AuditRow:
    """A row of the log, some milliseconds after the beginning."""
    at = BEGINNING + timedelta(milliseconds=number)
    fixed: dict[str, Any] = {
        "id": new_id(at), "at": at, "actor": "operator", "request_id": f"r{number}", "route": "POST /", "status": 201,
        "subject_kind": None, "subject_id": None, "request": "{}", "before": None, "after": None, "reason": None,
        "idempotency_key": None,
    }  # fmt: skip
    return AuditRow(**fixed | changed)


async def write(core: Core, environment_id: UUID, rows: list[AuditRow]) -> None:
    """Have the log hold rows."""

    async def insert(tx: Transaction) -> None:
        for row in rows:
            await insert_audit(tx, environment_id, row)

    await core.parts.database.run(environment_id, insert)


async def names(tenant: Tenant, **query: Any) -> list[int]:
    """Numbers of the rows that are found, from page to page; the environment's making is left out."""
    found, cursor = list[int](), None
    while True:
        body = await tenant.sandbox.read(PATH, **query, **({} if cursor is None else {"cursor": cursor}))
        found += [int(entry["request_id"][1:]) for entry in body["data"] if entry["route"] != MAKING]
        if (cursor := body["next_cursor"]) is None:
            return found


async def test_everything_is_found_once_newest_first(core: Core, tenant: Tenant) -> None:
    """Whatever the size of the pages."""
    await write(core, tenant.environment_id, [make_row(number) for number in (3, 1, 2, 5, 4)])
    for limit in (1, 2, 5, 6):
        assert await names(tenant, limit=limit) == [5, 4, 3, 2, 1]
    assert await names(tenant) == [5, 4, 3, 2, 1]


async def test_each_filter_narrows_and_all_together(core: Core, tenant: Tenant) -> None:
    """Who, what, and when: `from` is in, `to` is not, to the microsecond."""
    rows = [
        make_row(number, actor=actor, subject_kind="plan", subject_id=plan)
        for number, actor, plan in ((0, ADA, "x"), (1, BEN, "x"), (2, ADA, "y"), (3, BEN, "y"), (4, ADA, "x"))
    ]
    await write(core, tenant.environment_id, [*rows, make_row(5, actor=ADA)])

    def moment(number: int, microseconds: int = 0) -> str:
        return (BEGINNING + timedelta(milliseconds=number, microseconds=microseconds)).isoformat()

    assert await names(tenant, actor=ADA) == [5, 4, 2, 0]
    assert await names(tenant, subject_kind="plan") == [4, 3, 2, 1, 0]
    assert await names(tenant, subject_kind="plan", subject_id="x") == [4, 1, 0]
    assert await names(tenant, subject_kind="feature", subject_id="x") == []
    assert await names(tenant, **{"from": moment(2), "to": moment(4)}) == [3, 2]
    assert await names(tenant, **{"from": moment(2, 1), "to": moment(4, 1)}) == [4, 3]
    assert await names(tenant, **{"from": "1960-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z"}) == [5, 4, 3, 2, 1, 0]
    narrow = {"actor": ADA, "subject_kind": "plan", "subject_id": "x", "from": moment(1)}
    assert await names(tenant, **narrow, limit=1) == [4]


@pytest.mark.parametrize("way", ["format", "accept"])
async def test_files_have_everything(core: Core, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """All pages of it in one answer, the newest first, by a parameter or by what the client accepts."""
    monkeypatch.setattr(reading, "EXPORT_PAGE", 2)
    for count in (0, 1, 4, 5):
        await write(core, tenant.environment_id, [make_row(count * 10 + number) for number in range(count)])
        page = (await tenant.sandbox.read(PATH, limit=1000))["data"]
        lines = await fetch(tenant, way, "jsonl", "application/jsonl")
        assert [json.loads(line) for line in lines.splitlines()] == page
        head, *cells = csv.reader(io.StringIO(await fetch(tenant, way, "csv", "text/csv"), newline=""))
        assert tuple(head) == AuditEntryBody.__struct_fields__
        assert [row[:2] for row in cells] == [[entry["audit_id"], entry["at"]] for entry in page]


async def fetch(tenant: Tenant, way: str, name: str, media_type: str) -> str:
    """The log as a file."""
    asked: dict[str, Any] = (
        {"params": {"format": name}} if way == "format" else {"headers": {"accept": f"{media_type}, */*;q=0.1"}}
    )
    answer = await tenant.sandbox.send("GET", PATH, **asked)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].split(";")[0] == media_type
    assert answer.headers["content-disposition"] == f'attachment; filename="audit-log.{name}"'
    return answer.text


@given(st.lists(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=9), max_size=4))
def test_no_cell_is_a_formula_and_none_is_lost(texts: list[str]) -> None:
    """What a client chose stands in its cell, whatever quotes and lines it has, but never begins as a formula does."""
    rows = [make_row(number, reason=text, request_id=text) for number, text in enumerate(texts)]
    cells = list(csv.reader(io.StringIO(write_cells(rows).decode(), newline="")))
    place = AuditEntryBody.__struct_fields__.index("reason")
    assert [row[place].removeprefix("'") for row in cells] == [text.removeprefix("'") for text in texts]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in cells for cell in row)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-01-01"}, "to"),
        ({"subject_id": "p"}, "subject_id"),
        ({"subject_kind": "plans"}, "subject_kind"),
        ({"subject_kind": ""}, "subject_kind"),
        ({"actor": "key_1"}, "actor"),
        ({"actor": ADA.replace("key", "sub")}, "actor"),
        ({"actor": "Operator"}, "actor"),
        ({"format": "xml"}, "format"),
        ({"format": "csv", "limit": 1}, "limit"),
        ({"format": "jsonl", "cursor": "x"}, "cursor"),
        ({"limit": 1001}, "limit"),
        ({"cursor": "x"}, "cursor"),
    ],
)
async def test_what_cannot_be_asked(tenant: Tenant, query: dict[str, Any], field: str) -> None:
    """Is refused by name, before anything is sent."""
    assert_problem(await tenant.sandbox.get(PATH, **query), Code.INVALID_VALUE, field)


async def test_only_admin_keys_read_it(urls: DatabaseUrls, tenant: Tenant) -> None:
    """It tells what everybody did; no other scope is enough."""
    others = ["credits:write", "catalog:write", "keys:write", "subscriptions:write", "entitlements:read"]
    async with connected(urls.owner) as connection:
        await connection.execute("UPDATE api_keys SET scopes = $1", others)
    assert_problem(await tenant.sandbox.get(PATH), Code.MISSING_SCOPE)


async def test_a_narrow_question_reads_few_rows(core: Core, tenant: Tenant, urls: DatabaseUrls) -> None:
    """One subject among many, and one who did little, are found by an index, not by going through the log."""
    rows = [make_row(number, actor="busy", subject_kind="plan", subject_id="busy") for number in range(3_000)]
    rare = make_row(0, actor="rare", subject_kind="plan", subject_id="rare")
    await write(core, tenant.environment_id, [rare, *rows])
    async with connected(urls.owner) as connection:
        await connection.execute("ANALYZE audit_log")
    database = await Database.open(urls.of("quotastack_core"), "test", 1)
    for asked in (Asked(actor="rare"), Asked(subject_kind="plan", subject_id="rare")):
        plan = await database.run(tenant.environment_id, lambda tx, asked=asked: explain(tx, asked))
        assert "audit_log_of" in plan, plan
    await database.close()


async def explain(tx: Transaction, asked: Asked) -> str:
    """How Postgres answers."""
    values = (tx.environment, asked.first_id, asked.end_id, None, None, asked.actor, asked.subject_kind)
    await tx.connection.execute(SQL["plan_each"])
    statement = f"EXPLAIN {SQL['list_audit']}"
    return "\n".join(row[0] for row in await tx.connection.fetch(statement, *values, asked.subject_id, 101))


async def test_the_document_says_which_forms_there_are(tenant: Tenant) -> None:
    """Whoever makes a client from it knows of the files, too."""
    document = (await tenant.sandbox.get("/schema")).json()
    content = document["paths"][PATH]["get"]["responses"]["200"]["content"]
    assert content.keys() == {"application/json", "text/csv", "application/jsonl"}
    assert content["application/json"]["schema"]["$ref"].endswith("Page")
    assert content["text/csv"]["schema"] == {"type": "string"}
