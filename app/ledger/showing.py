"""What `quotastack ledger verify` shows: a bar while it runs, then tables for people and a document for programs."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from app.ledger.edge_proof import UNREACHABLE
from app.ledger.verify import FoundAt, VerifyReport, Watch
from app.ledger.verify import Progress as Done
from app.wire.ids import show

FORMAT = 1
"""Of the JSON document. Raised where a member changes its meaning or goes; docs/verifying.md says what each is."""
MAX_SHOWN = 50
"""Findings that the table has; the document has all that were kept."""


class FindingDocument(msgspec.Struct, frozen=True):
    """A finding as JSON has it. `row` is a table and a key in it."""

    invariant: int
    environment_id: UUID
    end_user_id: str
    row: str
    message: str


class ReportDocument(msgspec.Struct, frozen=True):
    """A report as JSON has it."""

    format: int
    versions: dict[str, str]
    environment_id: UUID | None
    end_user_id: str | None
    started_at: datetime | None
    finished_at: datetime | None
    duration_seconds: float
    edge: str
    counts: dict[str, int]
    heads_digest: str
    finding_count: int
    findings_left_out: int
    findings: list[FindingDocument]


def report_json(report: VerifyReport, environment_id: UUID | None, end_user_id: str | None) -> bytes:
    """The document, indented; the ids are those that narrowed the run."""
    document = ReportDocument(
        FORMAT,
        report.versions,
        environment_id,
        end_user_id,
        report.started_at,
        report.finished_at,
        _seconds(report),
        report.edge,
        report.counts,
        report.heads_digest,
        report.finding_count,
        report.finding_count - len(report.findings),
        [_document(found) for found in report.findings],
    )
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _document(found: FoundAt) -> FindingDocument:
    finding = found.finding
    return FindingDocument(finding.invariant, found.environment_id, found.end_user_id, finding.row, finding.message)


def _seconds(report: VerifyReport) -> float:
    if report.started_at is None or report.finished_at is None:
        return 0.0
    return (report.finished_at - report.started_at).total_seconds()


def print_report(console: Console, report: VerifyReport, *, is_quiet: bool) -> None:
    """Counts and findings; what is quiet says only what is wrong, or left undone."""
    if not is_quiet:
        console.print(_counts(report))
    if report.edge == UNREACHABLE:
        console.print("The edge was not compared: Redis does not answer.")
    if report.finding_count:
        console.print(_findings(report.findings[:MAX_SHOWN]))
        left_out = report.finding_count - min(len(report.findings), MAX_SHOWN)
        if left_out:
            console.print(f"And {left_out} more.")
    elif not is_quiet:
        console.print(f"Nothing differs. It took {_seconds(report):.1f} s.")


def _counts(report: VerifyReport) -> Table:
    counts = Table("checked", "count")
    for what, count in report.counts.items():
        counts.add_row(what, str(count))
    return counts


def _findings(found: list[FoundAt]) -> Table:
    table = Table("environment", "customer", "invariant", "row", "what is wrong")
    for one in found:
        finding = one.finding
        environment = show("env", one.environment_id) if one.environment_id.int else ""
        cells = (environment, one.end_user_id, str(finding.invariant), finding.row, finding.message)
        table.add_row(*map(escape, cells))
    return table


@contextmanager
def show_verifying(console: Console) -> Generator[Watch]:
    """A bar of events with rate and time left, and how many accounts are done; nothing where there is no terminal."""
    if not console.is_terminal:
        yield lambda _done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("reading", total=None, rate="")

        def advance(done: Done) -> None:
            elapsed = progress.tasks[0].elapsed
            progress.update(
                task,
                description=f"accounts {done.accounts:,} of {done.all_accounts:,}, "
                f"events {done.events:,} of {done.all_events:,}",
                total=done.all_accounts + done.all_events,
                completed=done.accounts + done.events,
                rate=f"{done.events / elapsed:,.0f} events/s" if elapsed else "",
            )

        yield advance
