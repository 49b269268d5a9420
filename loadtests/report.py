"""The results as a table for the terminal, as Markdown and as JSON."""

from collections.abc import Container, Iterable
from pathlib import Path

import msgspec
from rich.table import Table

from loadtests.machine import Machine
from loadtests.measuring import Goal, Measure, Result, median_run

HEADINGS = ("comparison", "subject/s", "baseline/s", "ratio", "range", "p50", "baseline p50", "p50 ratio", "goal")
NUMERIC_COLUMNS = range(1, 8)
MEASURE_HEADINGS = ("figure", "unit", "value", "goal")
PAGE_BEGIN, PAGE_END = "<!-- figures begin -->", "<!-- figures end -->"
SECOND = 1_000_000
"""In microseconds."""
CAVEAT = (
    "Load generator, servers and whatever else the machine did shared its cores: the ratios of what ran side by side "
    "are the result, the absolute numbers are this machine's on that day."
)


class Report(msgspec.Struct, frozen=True):
    """Everything that is told of one run."""

    machine: Machine
    rounds: int
    seconds: int
    results: list[Result]
    measures: list[Measure] = []


class Row(msgspec.Struct, frozen=True):
    """The figures of a comparison, worked out, as the JSON has them beside the runs."""

    rate_ratio: float
    rate_ratios: list[float]
    p50_ratio: float | None
    meets_goal: bool | None
    result: Result


def table(report: Report) -> Table:
    """For the terminal."""
    shown = Table(title="medians of the rounds; a ratio is subject to baseline", title_justify="left")
    for number, heading in enumerate(HEADINGS):
        shown.add_column(heading, justify="right" if number in NUMERIC_COLUMNS else "left")
    for result in report.results:
        shown.add_row(*cells(result), style="red" if result.meets_goal is False else None)
    return shown


def measures_table(report: Report) -> Table:
    """The figures that stand by themselves, for the terminal."""
    shown = Table()
    for heading in MEASURE_HEADINGS:
        shown.add_column(heading, justify="right" if heading == "value" else "left")
    for measure in report.measures:
        shown.add_row(*measure_cells(measure), style="red" if measure.meets_goal is False else None)
    return shown


def measure_cells(measure: Measure) -> list[str]:
    """One row of them."""
    goal = "" if measure.most is None else f"≤ {measure.most:g}: {'met' if measure.meets_goal else 'missed'}"
    return [measure.name, measure.unit, f"{measure.value:,.1f}", goal]


def cells(result: Result) -> list[str]:
    """One row of the table."""
    subject, baseline = median_run(result.subject_runs), median_run(result.baseline_runs)
    return [
        f"{result.name} ({result.unit})",
        f"{subject.rate_per_second:,.0f}",
        f"{baseline.rate_per_second:,.0f}",
        f"{result.rate_ratio:.3f}",
        f"{min(result.rate_ratios):.3f} to {max(result.rate_ratios):.3f}",
        _duration(subject.p50_microseconds),
        _duration(baseline.p50_microseconds),
        "" if result.p50_ratio is None else f"{result.p50_ratio:.2f}",
        _goal(result.goal, result.meets_goal),
    ]


def markdown(report: Report) -> str:
    """For readers."""
    lines = [
        f"# Benchmarks of {report.machine.date}",
        "",
        *machine_lines(report.machine),
        f"- rounds: {report.rounds} of each side in turn, after a warm-up; {report.seconds} seconds each",
        "",
        CAVEAT,
        "",
        *tables(report),
    ]
    return "\n".join(lines) + "\n"


def tables(report: Report) -> list[str]:
    """What was measured, and what each row is."""
    lines: list[str] = []
    if report.results:
        lines += markdown_table(HEADINGS, (cells(result) for result in report.results), NUMERIC_COLUMNS)
    if report.measures:
        lines += ["", *markdown_table(MEASURE_HEADINGS, (measure_cells(m) for m in report.measures), (2,))]
    return [
        *lines,
        "",
        "### What each row is",
        "",
        *(f"- **{result.name}**: {result.subject} ÷ {result.baseline}; {result.what}." for result in report.results),
        *(f"- **{measure.name}**: {measure.what}." for measure in report.measures),
    ]


def machine_lines(machine: Machine) -> list[str]:
    """What it was measured on, as the first points of a page."""
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return [
        f"- commit: {machine.commit}{' with changes that are not committed' if machine.dirty else ''}",
        f"- machine: {machine.cpu}, {machine.cores} cores, {machine.system}",
        f"- versions: {versions}",
    ]


def markdown_table(headings: Iterable[str], rows: Iterable[Iterable[str]], numeric: Container[int]) -> list[str]:
    """The lines of a table; the `numeric` columns stand to the right."""
    rule = ["---:" if number in numeric else "---" for number, _ in enumerate(headings)]
    return ["| " + " | ".join(row) + " |" for row in (headings, rule, *rows)]


def json(report: Report) -> bytes:
    """For programs: every run of both sides, and what was worked out from them."""
    rows = [Row(r.rate_ratio, r.rate_ratios, r.p50_ratio, r.meets_goal, r) for r in report.results]
    document = {
        "machine": report.machine,
        "rounds": report.rounds,
        "seconds": report.seconds,
        "comparisons": {row.result.name: row for row in rows},
        "measures": {measure.name: measure for measure in report.measures},
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def write(report: Report, directory: Path) -> list[Path]:
    """Write both files, named after date and commit; their paths."""
    return write_files(directory, stem_of(report.machine), markdown(report), json(report))


def publish(report: Report, page: Path) -> None:
    """Put the tables into a page of the docs, in the place of those that stand between its two marks."""
    before, _, rest = page.read_text().partition(PAGE_BEGIN)
    _, _, after = rest.partition(PAGE_END)
    lines = [PAGE_BEGIN, "", *machine_lines(report.machine), "", *tables(report), "", PAGE_END]
    page.write_text(before + "\n".join(lines) + after)


def stem_of(machine: Machine) -> str:
    """The name of a run's files, without what stands after it."""
    return f"{machine.date}-{machine.commit}"


def write_files(directory: Path, stem: str, page: str, data: bytes) -> list[Path]:
    """Write a page for readers and data for programs under one name; their paths."""
    directory.mkdir(exist_ok=True)
    contents = {".md": page.encode(), ".json": data}
    paths = [directory / (stem + suffix) for suffix in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        path.write_bytes(content)
    return paths


def _duration(microseconds: float | None) -> str:
    if microseconds is None:
        return ""
    return f"{microseconds / 1000:.3f} ms" if microseconds < SECOND else f"{microseconds / SECOND:.1f} s"


def _goal(goal: Goal, is_met: bool | None) -> str:  # noqa: FBT001 - None where there is none
    parts: list[str] = []
    if goal.least_rate_ratio is not None:
        parts.append(f"ratio ≥ {goal.least_rate_ratio:g}")
    if goal.most_p50_ratio is not None:
        parts.append(f"p50 ratio ≤ {goal.most_p50_ratio:g}")
    if goal.least_rate is not None:
        parts.append(f"subject/s ≥ {goal.least_rate:,.0f}")
    return ", ".join(parts) + ("" if is_met is None else ": met" if is_met else ": missed")
