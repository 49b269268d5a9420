"""The results of a soak as a table for the terminal, as Markdown and as JSON."""

from pathlib import Path

import msgspec
from rich.table import Table

from app.doctor.showing import CheckDocument
from loadtests.load import outcome
from loadtests.load.outcome import Outcome
from loadtests.report import markdown_table, stem_of, write_files
from loadtests.soak.sampling import INTERVAL_SECONDS, Sample
from loadtests.soak.verdict import (
    COMPARED_SHARE,
    GROWTH_SHARE,
    LEAST_GROWTH_BYTES,
    LEAST_GROWTH_DESCRIPTORS,
    LEAST_WARM_UP_SECONDS,
    WARM_UP_SHARE,
    Line,
    Verdict,
)

HEADINGS = ("process", "figure", "warm", "at the end", "growth", "peak", "allowed", "verdict")
NUMERIC_COLUMNS = range(2, 7)
MEBIBYTE = 1024 * 1024
TOLERANCE = (
    f"Sampled every {INTERVAL_SECONDS:g} seconds. The first {WARM_UP_SHARE:.0%} of the run, at least "
    f"{LEAST_WARM_UP_SECONDS} seconds, are for warming up; of the rest the median of the first {COMPARED_SHARE:.0%} is "
    f"compared with that of the last. A process is flat where it grew by no more than {GROWTH_SHARE:.0%}; "
    f"{LEAST_GROWTH_BYTES // MEBIBYTE} MiB and {LEAST_GROWTH_DESCRIPTORS} descriptors are no growth at all. Memory is "
    "resident memory without what is shared; valkey's data is what Valkey says that it uses, without buffers of "
    "clients and log."
)


class Soak(msgspec.Struct, frozen=True):
    """Everything that is told of one run."""

    outcome: Outcome
    most_a_second: float
    """Requests a second that the machine took as fast as it could, before."""
    window_seconds: int
    """For which the product remembers keys and posted entries: over before the warm-up is."""
    kills: int
    """Of processes that were asked for; those without are judged over the whole run."""
    drift: CheckDocument
    """What `quotastack doctor` says of it when the load is over."""
    verdict: Verdict
    samples: list[Sample]

    @property
    def has_passed(self) -> bool:
        """Whether every answer was right, the books are, no account drifted, and nothing grew."""
        return self.outcome.has_passed and self.drift.status == "ok" and self.verdict.is_flat


def rows(verdict: Verdict) -> list[list[str]]:
    """A row for each figure of each process."""
    return [
        [
            line.process,
            line.figure,
            *(_shown(line, value) for value in (line.before, line.after, line.after - line.before, line.peak)),
            f"≤ {_shown(line, line.most)}",
            "flat" if line.is_flat else "GREW",
        ]
        for line in verdict.lines
    ]


def table(soak: Soak) -> Table:
    """For the terminal."""
    shown = Table(title="what the processes hold", title_justify="left")
    for number, heading in enumerate(HEADINGS):
        shown.add_column(heading, justify="right" if number in NUMERIC_COLUMNS else "left")
    for row, line in zip(rows(soak.verdict), soak.verdict.lines, strict=True):
        shown.add_row(*row, style=None if line.is_flat else "red")
    return shown


def changed_lines(verdict: Verdict) -> list[str]:
    """Which processes were not the same all the time."""
    return [f"{name} ended, or began anew, during the run" for name in verdict.changed]


def markdown(soak: Soak) -> str:
    """For readers."""
    done = soak.outcome
    requests = sum(figures.requests for figures in done.routes) / (done.seconds or 1)
    lines = [
        f"# Soak of {done.machine.date}: {'passed' if soak.has_passed else 'FAILED'}",
        "",
        f"- load: {requests:,.0f} requests a second, of {soak.most_a_second:,.0f} that the machine took before",
        f"- keys and posted entries are remembered for {soak.window_seconds} seconds, so that they go during the run",
        *([f"- kills asked for: {soak.kills}; each process is judged by its longest life"] if soak.kills else []),
        f"- drift: {soak.drift.seen}",
        *outcome.lines_of(done),
        "## What the processes hold",
        "",
        TOLERANCE,
        "",
        *markdown_table(HEADINGS, rows(soak.verdict), NUMERIC_COLUMNS),
        *(["", *(f"- {line}" for line in changed_lines(soak.verdict))] if soak.verdict.changed else []),
    ]
    return "\n".join(lines) + "\n"


def write(soak: Soak, directory: Path) -> list[Path]:
    """Write both files, named after date and commit; their paths."""
    data = msgspec.json.format(msgspec.json.encode(soak), indent=2) + b"\n"
    return write_files(directory, f"{stem_of(soak.outcome.machine)}-soak", markdown(soak), data)


def _shown(line: Line, value: float) -> str:
    return f"{value:,.0f}" if line.figure == "descriptors" else f"{value / MEBIBYTE:,.1f} MiB"
