"""The results of a load test as they are shown, kept, and turned into an exit status."""

from pathlib import Path

import msgspec
import pytest

from loadtests.load.auditing import Audit
from loadtests.load.locusting import Failure, LocustFailed, RouteFigures, read_report
from loadtests.load.outcome import (
    OWN,
    Outcome,
    Settings,
    audit_lines,
    failure_lines,
    markdown,
    probe_rows,
    rows,
    tables,
    write,
)
from loadtests.probes.running import ProbeResult
from tests.loadtests.test_report import MACHINE

AUDIT = Audit(1_200, 30, 2, [], verified=True)
OUTCOME = Outcome(
    MACHINE,
    Settings("mixed", "spike", 5, 10, None, 7, OWN),
    10.0,
    [
        RouteFigures("POST", "/v1/usage", 1_000, 0, [2, 9, 30]),
        RouteFigures("interrupted POST", "/v1/usage", 4, 0, [1, 1, 1]),
        RouteFigures("interrupted GET", "/v1/usage", 1, 0, [1, 1, 1]),
    ],
    [],
    [
        ProbeResult("race", "exactly 100", has_passed=True, finding="5 races"),
        ProbeResult("crash", "each once", has_passed=None, finding="not ours"),
    ],
    AUDIT,
)


def test_row_has_answers_and_beside_them_what_got_none() -> None:
    """Latencies are those of answers; a route that never answered has none."""
    assert rows(OUTCOME) == [
        ["GET /v1/usage", "0", "0", "1", "0.0", "", "", ""],
        ["POST /v1/usage", "1,000", "0", "4", "100.0", "2 ms", "9 ms", "30 ms"],
    ]


def test_run_passes_where_everything_is_right() -> None:
    """A probe that was left out is no failure."""
    assert OUTCOME.has_passed


@pytest.mark.parametrize(
    "change",
    [
        {"failures": [Failure("POST /v1/usage: wrong", 1)]},
        {"probes": [ProbeResult("race", "exactly 100", has_passed=False, finding="101")]},
        {"audit": msgspec.structs.replace(AUDIT, differences=["lost"])},
        {"audit": msgspec.structs.replace(AUDIT, verified=False)},
        {"routes": []},
    ],
    ids=["failure", "probe", "books", "verify", "nothing"],
)
def test_run_fails_where_anything_is_wrong(change: dict[str, object]) -> None:
    """An answer, a probe, the books, or that nothing was sent at all; and the page says so in its title."""
    outcome = msgspec.structs.replace(OUTCOME, **change)
    assert not outcome.has_passed
    assert markdown(outcome).splitlines()[0] == "# Load test of 2026-01-31: FAILED"


def test_page_says_what_was_measured_and_what_the_figures_are_not() -> None:
    """Machine, versions, commit, what was asked for, the closed loop, every probe, the books."""
    text = markdown(OUTCOME)
    for part in (
        "# Load test of 2026-01-31: passed",
        "0123456789 with changes",
        "mixed, spike, 5 users, 10 seconds",
        "pauses as people make them",
        "seed: 7",
        OWN,
        "Locust is a closed loop",
        "| crash: each once | left out | not ours |",
        "1,200 events of 30 customers were acknowledged; 2 without an answer",
        "ledger verify` found nothing",
    ):
        assert part in text
    assert "## Failures" not in text


def test_failures_and_differences_are_told_in_one_line_each() -> None:
    """With how often, or where."""
    outcome = msgspec.structs.replace(OUTCOME, failures=[Failure("GET /a: b", 1_000), Failure("GET /c: d", 1)])
    assert failure_lines(outcome) == ["1,000 times: GET /a: b", "once: GET /c: d"]
    assert "## Failures" in markdown(outcome)
    assert audit_lines(msgspec.structs.replace(AUDIT, differences=["a", "b"]))[1:3] == ["a", "b"]


def test_tables_have_what_the_page_has() -> None:
    """Routes, probes, books."""
    assert [table.row_count for table in tables(OUTCOME)] == [2, len(probe_rows(OUTCOME)), 3]


def test_files_stand_beside_those_of_the_benchmarks(tmp_path: Path) -> None:
    """The same name with what tells them apart; the JSON has everything."""
    paths = write(OUTCOME, tmp_path)
    assert [path.name for path in paths] == ["2026-01-31-0123456789-load.md", "2026-01-31-0123456789-load.json"]
    assert msgspec.json.decode(paths[1].read_bytes(), type=Outcome) == OUTCOME


def test_locust_without_a_report_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    """Whatever it did instead."""
    (tmp_path / "locust.log").write_text("ValueError: what it was")
    with pytest.raises(LocustFailed, match="what it was"):
        read_report(tmp_path / "locust.json", tmp_path / "locust.log")
