"""`python -m loadtests [NAMES…] [--rounds 3] [--seconds 4]`."""

# rich-click types its decorators in part only:
# pyright: reportUnknownMemberType=false

import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import rich_click as click
from rich.console import Console

from app.embedded.errors import EmbeddedError
from app.io.process import configure_logging, stop_as_interrupted
from app.wire.redaction import Redactor
from loadtests import report
from loadtests.bench import BENCHES
from loadtests.machine import describe
from loadtests.measuring import Measure, Result, WrongResult, compare
from loadtests.programs import ROOT, MissingPrograms, ProgramFailed, require
from loadtests.servers import ServerFailed

FAILED = 1
MISSING_PROGRAMS = 2
NARROWEST_TABLE = 140
"""Columns, where the terminal says nothing of its width or is no terminal."""
VAR = ROOT / "var"
RESULTS = ROOT / "loadtests" / "results"
PAGE = ROOT / "docs" / "performance.md"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHES)))
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 100), help="Runs of each side.")
@click.option("--seconds", default=4, show_default=True, type=click.IntRange(1, 600), help="How long a run takes.")
@click.option("--publish", is_flag=True, help="Also put the tables into docs/performance.md.")
def main(names: tuple[str, ...], rounds: int, seconds: int, *, publish: bool) -> None:
    """Run comparisons (all where none is named), print them, and write them into loadtests/results/."""
    stop_as_interrupted()  # servers and directories go in good order
    configure_logging("warning", "loadtests", Redactor())
    chosen = [name for name in BENCHES if name in names or not names]
    try:
        require(program for name in chosen for program in BENCHES[name].programs)
        found = [run(name, rounds, seconds) for name in chosen]
    except MissingPrograms as error:
        fail(str(error), MISSING_PROGRAMS)
    except (EmbeddedError, ProgramFailed, ServerFailed, WrongResult) as error:
        fail(str(error), FAILED)
    results = [result for results, _ in found for result in results]
    measures = [measure for _, measures in found for measure in measures]
    document = report.Report(describe(), rounds, seconds, results, measures)
    console = Console(width=max(Console().width, NARROWEST_TABLE))
    console.print(report.table(document))
    console.print(report.measures_table(document))
    for path in report.write(document, RESULTS):
        tell(f"written: {path.relative_to(ROOT)}")
    if publish:
        report.publish(document, PAGE)
        tell(f"written: {PAGE.relative_to(ROOT)}")


def run(name: str, rounds: int, seconds: int) -> tuple[list[Result], list[Measure]]:
    """One bench from the start of its servers to their end.

    Its directory is under `var/`, on a disk: in many places the system's own is memory, where syncing costs nothing.
    """
    VAR.mkdir(mode=0o700, exist_ok=True)
    bench, results, measures = BENCHES[name], [], []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=VAR) as directory:
        if bench.comparisons is not None:
            with bench.comparisons(Path(directory)) as comparisons:
                results = [compare(comparison, rounds, seconds, tell) for comparison in comparisons]
        if bench.measures is not None:
            measures = bench.measures(Path(directory) / "measures")
    return results, measures


def tell(line: str) -> None:
    """How it goes, beside the results."""
    Console(stderr=True, soft_wrap=True).print(line, highlight=False)


def fail(message: str, code: int) -> NoReturn:
    """Say what is wrong and end."""
    tell(message)
    sys.exit(code)


if __name__ == "__main__":
    main()
