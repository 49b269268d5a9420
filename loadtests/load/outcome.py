"""The results of a load test as tables for the terminal, as Markdown and as JSON."""

from collections.abc import Iterable
from pathlib import Path

import msgspec
from rich.table import Table

from loadtests.load.auditing import Audit
from loadtests.load.locusting import Failure, RouteFigures
from loadtests.load.plan import INTERRUPTED, interrupted
from loadtests.machine import Machine
from loadtests.probes.running import ProbeResult
from loadtests.report import machine_lines, markdown_table, stem_of, write_files

HEADINGS = ("route", "requests", "failures", "interrupted", "requests/s", "p50", "p95", "p99")
NUMERIC_COLUMNS = range(1, 8)
LATENCIES = 3
"""Columns."""
PROBE_HEADINGS = ("probe", "result", "found")
OWN, RUNNING = "a product of its own, started for the run", "a product that ran already"
CLOSED_LOOP = (
    "Locust is a closed loop: a user waits for an answer before the next request, so that a slow product is asked less "
    "often. The latencies are of the requests that were made, and no figure for arrivals at a fixed rate. Load "
    "generator and product shared the machine's cores."
)


class Settings(msgspec.Struct, frozen=True):
    """What was asked for."""

    scenario: str
    shape: str
    users: int
    seconds: int
    rate: float | None
    seed: int
    target: str


class Outcome(msgspec.Struct, frozen=True):
    """Everything that is told of one run."""

    machine: Machine
    settings: Settings
    seconds: float
    """From the first request to the last."""
    routes: list[RouteFigures]
    failures: list[Failure]
    probes: list[ProbeResult]
    audit: Audit
    actions: int = 0
    """What users did: each is a few requests that belong together."""

    @property
    def has_passed(self) -> bool:
        """Whether every answer was right, every probe held, and the books are right."""
        is_empty = not any(figures.requests for figures in self.routes)
        has_failed = any(result.has_passed is False for result in self.probes)
        return self.audit.is_right and not (self.failures or has_failed or is_empty)


def rows(outcome: Outcome) -> list[list[str]]:
    """A row for each route: its answers, and beside them the requests that got none because of a kill."""
    figures = {(one.route, one.method): one for one in outcome.routes}
    keys = sorted({(route, method.removeprefix(INTERRUPTED)) for route, method in figures})
    return [
        [f"{method} {route}", *_cells(figures.get((route, method)), figures.get((route, interrupted(method))), outcome)]
        for route, method in keys
    ]


def _cells(answered: RouteFigures | None, unanswered: RouteFigures | None, outcome: Outcome) -> list[str]:
    count = answered.requests if answered else 0
    latencies = answered.percentiles_ms if answered else []
    return [
        f"{count:,}",
        f"{answered.failures if answered else 0:,}",
        f"{unanswered.requests if unanswered else 0:,}",
        f"{count / outcome.seconds:,.1f}" if outcome.seconds else "",
        *([f"{value:,.0f} ms" for value in latencies] or [""] * LATENCIES),
    ]


def probe_rows(outcome: Outcome) -> list[list[str]]:
    """A row for each probe."""
    words = {True: "held", False: "FAILED", None: "left out"}
    return [[f"{one.name}: {one.promise}", words[one.has_passed], one.finding] for one in outcome.probes]


def audit_lines(audit: Audit) -> list[str]:
    """What the books say."""
    verified = {
        True: "`quotastack ledger verify` found nothing.",
        False: "`quotastack ledger verify` FOUND DIFFERENCES.",
        None: "`quotastack ledger verify` was left out: the ledger is not ours to read.",
    }
    counts = f"{audit.acknowledged:,} events of {audit.customers:,} customers were acknowledged"
    return [
        f"{counts}; {audit.asked_again:,} without an answer at the end were asked for again.",
        *(audit.differences or ["The ledger has each of them once, and nothing else."]),
        verified[audit.verified],
    ]


def tables(outcome: Outcome) -> list[Table]:
    """For the terminal."""
    routes = Table(title="requests by route", title_justify="left")
    for number, heading in enumerate(HEADINGS):
        routes.add_column(heading, justify="right" if number in NUMERIC_COLUMNS else "left")
    for row, has_failed in zip(rows(outcome), (row[2] != "0" for row in rows(outcome)), strict=True):
        routes.add_row(*row, style="red" if has_failed else None)
    probes = Table(*PROBE_HEADINGS, title="probes beside it", title_justify="left")
    for row, result in zip(probe_rows(outcome), outcome.probes, strict=True):
        probes.add_row(*row, style="red" if result.has_passed is False else None)
    books = Table("books", title="books", title_justify="left", show_header=False)
    for line in audit_lines(outcome.audit):
        books.add_row(line, style=None if outcome.audit.is_right else "red")
    return [routes, probes, books]


def failure_lines(outcome: Outcome) -> list[str]:
    """Every kind of failure, and how often it came."""
    return [f"{'once' if one.count == 1 else f'{one.count:,} times'}: {one.what}" for one in outcome.failures]


def markdown(outcome: Outcome) -> str:
    """For readers."""
    title = f"# Load test of {outcome.machine.date}: {'passed' if outcome.has_passed else 'FAILED'}"
    return "\n".join([title, "", *lines_of(outcome)]).rstrip("\n") + "\n"


def lines_of(outcome: Outcome) -> list[str]:
    """What a page says of a run, below its title."""
    settings = outcome.settings
    rate = "pauses as people make them" if settings.rate is None else f"{settings.rate:g} actions a second and user"
    return [
        *machine_lines(outcome.machine),
        f"- scenario: {settings.scenario}, {settings.shape}, {settings.users} users, {settings.seconds} seconds",
        f"- pace: {rate}",
        f"- seed: {settings.seed}",
        f"- target: {settings.target}",
        "",
        CLOSED_LOOP,
        "",
        *markdown_table(HEADINGS, rows(outcome), NUMERIC_COLUMNS),
        "",
        *_points("Failures", failure_lines(outcome)),
        "## Probes beside it",
        "",
        *markdown_table(PROBE_HEADINGS, probe_rows(outcome), ()),
        "",
        *_points("Books", audit_lines(outcome.audit)),
    ]


def _points(heading: str, points: Iterable[str]) -> list[str]:
    """A heading with its points; nothing where there are none."""
    shown = [f"- {' '.join(point.split())}" for point in points]
    return [f"## {heading}", "", *shown, ""] if shown else []


def json(outcome: Outcome) -> bytes:
    """For programs."""
    return msgspec.json.format(msgspec.json.encode(outcome), indent=2) + b"\n"


def write(outcome: Outcome, directory: Path) -> list[Path]:
    """Write both files, named after date and commit; their paths."""
    return write_files(directory, f"{stem_of(outcome.machine)}-load", markdown(outcome), json(outcome))
