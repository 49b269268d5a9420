"""The route of the audit log: pages of it, and all of it as a file."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, cast
from uuid import UUID

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency, Provide
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, OpenAPIType, Operation, Schema
from litestar.params import FromQuery, QueryParameter
from litestar.response import Stream

from app.errors import invalid_value
from app.io.postgres import Transaction
from app.trail import audit, reading
from app.trail.audit import SubjectKind
from app.trail.reading import Asked
from app.trail.schemas import AuditEntryBody, show_entry
from app.trail.store import AuditRow
from app.web.bodies import JSON, ExactResponse
from app.web.fields import read_moment, require_span
from app.web.paging import MAX_LIMIT, Cursor, Listing, Page
from app.web.principal import SECURITY, needs
from app.web.reader import Reader
from app.wire.ids import MalformedId, parse
from app.wire.scopes import Scope

READ = needs(Scope.ADMIN)
_ENTRIES = Listing("audit log", UUID)
DEFAULT_LIMIT = 100


class Format(StrEnum):
    """How the log is written: as pages, or whole."""

    JSON = "json"
    CSV = "csv"
    JSONL = "jsonl"


class _File(msgspec.Struct, frozen=True):
    """A form of the whole log."""

    media_type: str
    head: bytes
    write: Callable[[Sequence[AuditRow]], bytes]


_FILES = {
    Format.CSV: _File("text/csv", reading.head_of_cells(), reading.write_cells),
    Format.JSONL: _File("application/jsonl", b"", reading.write_lines),
}
_MEDIA_TYPES = {JSON: Format.JSON, **{file.media_type: name for name, file in _FILES.items()}}


@dataclass
class _WithFiles(Operation):
    """Tells the OpenAPI document of the forms beside JSON."""

    def __post_init__(self) -> None:
        answered = (self.responses or {})["200"]
        if isinstance(answered, OpenAPIResponse):
            text = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING))
            answered.content = (answered.content or {}) | {file.media_type: text for file in _FILES.values()}


async def provide_asked(
    *,
    actor: Annotated[str | None, QueryParameter(description="`operator`, or the id of an API key.")] = None,
    subject_kind: FromQuery[SubjectKind | None] = None,
    subject_id: FromQuery[str | None] = None,
    start: Annotated[str | None, QueryParameter(name="from", description="The first moment.")] = None,
    end: Annotated[str | None, QueryParameter(name="to", description="The first moment that is left out.")] = None,
) -> Asked:
    """What is asked for. Raises ServiceError(INVALID_VALUE)."""
    if subject_id is not None and subject_kind is None:
        raise invalid_value("subject_id", "needs the subject_kind beside it: an id is one of its kind")
    if actor is not None and actor != audit.OPERATOR:
        _require_key(actor)
    start_at = None if start is None else read_moment("from", start)
    end_at = None if end is None else read_moment("to", end)
    if start_at is not None and end_at is not None:
        require_span(start_at, end_at)
    return Asked(
        start_at=start_at,
        end_at=end_at,
        actor=actor,
        subject_kind=subject_kind,
        subject_id=subject_id,
    )


def _require_key(actor: str) -> None:
    try:
        parse("key", actor)
    except MalformedId as error:
        raise invalid_value("actor", f"must be {audit.OPERATOR} or the id of an API key; {error}") from error


@get(
    "/v1/audit-log",
    guards=[READ],
    security=SECURITY,
    tags=["Audit log"],
    dependencies={"asked": Provide(provide_asked)},
    operation_class=_WithFiles,
)
async def list_audit_log(
    request: Request[Any, Any, Any],
    reader: NamedDependency[Reader],
    asked: NamedDependency[Asked],
    *,
    wanted: Annotated[Format | None, QueryParameter(name="format", description="In place of `Accept`.")] = None,
    limit: Annotated[int | None, QueryParameter(ge=1, le=MAX_LIMIT, description="Most items of the page: 100.")] = None,
    cursor: Cursor = None,
) -> ExactResponse[Page[AuditEntryBody]]:
    """What took effect, newest first: who changed what, how it was before and how it is.

    As `text/csv` or `application/jsonl` everything that is asked for, not a page of it.
    """
    named = wanted or _MEDIA_TYPES[request.accept.best_match([*_MEDIA_TYPES], JSON)]
    if named is not Format.JSON:
        if limit is not None or cursor is not None:
            field = "cursor" if limit is None else "limit"
            raise invalid_value(field, "is for pages; a file has all that is asked for")
        return await _export(reader, asked, _FILES[named], f"audit-log.{named.value}")
    before, most = _ENTRIES.decode(cursor), limit or DEFAULT_LIMIT

    async def work(tx: Transaction) -> Page[AuditEntryBody]:
        rows = await reading.list_entries(tx, asked, before, most + 1)
        return _ENTRIES.page(rows, most, show_entry, lambda row: row.id)

    return ExactResponse(await reader.run(work), media_type=JSON)


async def _export(reader: Reader, asked: Asked, file: _File, name: str) -> Any:  # noqa: ANN401 - bytes, not a page
    parts = reading.export(reader, asked, file.write)
    first = await anext(parts)  # before anything is answered: a store that fails is a 503 still

    async def stream() -> AsyncIterator[bytes]:
        yield file.head + first
        async for part in parts:
            yield part

    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return cast("Response[Any]", Stream(stream(), media_type=file.media_type, headers=headers))


ROUTES = [list_audit_log]
