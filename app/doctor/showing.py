"""What `quotastack doctor` shows: a table for people, a document for programs, an exit status for both."""

from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.doctor.examining import Diagnosis, worst_of
from app.doctor.patient import Status

FORMAT = 1
"""Of the JSON document. Raised where a member changes its meaning or goes; docs/operations.md says what each is."""
EXIT_STATUS: dict[Status, int] = {"ok": 0, "warning": 1, "unknown": 2, "problem": 2}
_STYLES: dict[Status, str] = {"ok": "green", "warning": "yellow", "problem": "bold red", "unknown": "magenta"}


class CheckDocument(msgspec.Struct, frozen=True):
    """A verdict as JSON has it."""

    check: str
    status: Status
    seen: str
    remedy: str


class DoctorDocument(msgspec.Struct, frozen=True):
    """All verdicts as JSON."""

    format: int
    status: Status
    checks: list[CheckDocument]


def diagnoses_json(diagnoses: Sequence[Diagnosis]) -> bytes:
    """The document, indented."""
    checks = [
        CheckDocument(each.check, each.verdict.status, each.verdict.seen, each.verdict.remedy) for each in diagnoses
    ]
    document = DoctorDocument(FORMAT, worst_of(diagnoses), checks)
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def print_diagnoses(console: Console, diagnoses: Sequence[Diagnosis], *, is_quiet: bool) -> None:
    """Every verdict, and what to do; quiet, those that are not ok."""
    shown = [each for each in diagnoses if not is_quiet or each.verdict.status != "ok"]
    if not shown:
        return
    table = Table("", "check", "what was seen, and what to do", box=None, pad_edge=False)
    for each in shown:
        verdict, style = each.verdict, _STYLES[each.verdict.status]
        words = escape(verdict.seen) + (f"\n→ {escape(verdict.remedy)}" if verdict.remedy else "")
        table.add_row(f"[{style}]{verdict.status}[/]", each.check, words)
    console.print(table)
