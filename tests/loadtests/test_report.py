"""The results as they are shown and kept."""

from pathlib import Path

import msgspec

from loadtests.machine import Machine
from loadtests.measuring import Goal, Measure, Result, Run
from loadtests.report import (
    PAGE_BEGIN,
    PAGE_END,
    Report,
    cells,
    json,
    markdown,
    measure_cells,
    measures_table,
    publish,
    table,
    write,
)

MACHINE = Machine(
    date="2026-01-31",
    commit="0123456789",
    dirty=True,
    cpu="Some CPU",
    cores=2,
    system="Linux 6.1",
    versions={"Python": "3.11.7", "wrk": "4.1.0"},
)
RESULT = Result(
    "check, c=1",
    "requests",
    "ours",
    "theirs",
    "what both do",
    Goal(least_rate_ratio=0.25, most_p50_ratio=2.5),
    [Run(1000, 90), Run(3000, 80)],
    [Run(4000, 30), Run(6000, 20)],
)
REPORT = Report(MACHINE, 2, 4, [RESULT, Result("flush", "events", "a", "b", "", Goal(), [Run(5)], [Run(10)])])


def test_row_has_medians_ratio_and_goal() -> None:
    """Latencies are told in milliseconds, and where there are none the cells are empty."""
    assert cells(RESULT) == [
        "check, c=1 (requests)",
        *("2,000", "5,000", "0.375", "0.250 to 0.500"),
        *("0.085 ms", "0.025 ms", "3.50"),
        "ratio ≥ 0.25, p50 ratio ≤ 2.5: missed",
    ]
    assert cells(REPORT.results[1])[-4:] == [""] * 4


def test_goal_of_a_rate_is_told_as_one() -> None:
    """It is a number of things a second, not a ratio."""
    result = Result("renewals", "subscriptions", "a", "b", "", Goal(least_rate=1_000), [Run(1_200)], [Run(10)])
    assert cells(result)[-1] == "subject/s ≥ 1,000: met"


def test_what_takes_long_is_told_in_seconds() -> None:
    """As the whole proof of a ledger does."""
    result = Result("verify", "events", "a", "b", "", Goal(), [Run(5, 18_349_537)], [Run(10, 999_999)])
    assert cells(result)[5:7] == ["18.3 s", "999.999 ms"]


def test_markdown_says_what_it_was_measured_on() -> None:
    """Commit and whether the tree had changed, machine, versions, and what each row is."""
    text = markdown(REPORT)
    for part in (
        "0123456789 with changes",
        "Some CPU, 2 cores",
        "Python 3.11.7, wrk 4.1.0",
        "ours ÷ theirs; what both do",
    ):
        assert part in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(REPORT.results)
    assert len({row.count("|") for row in rows}) == 1


def test_table_has_a_row_for_each_comparison() -> None:
    """The terminal shows what the files hold."""
    assert table(REPORT).row_count == len(REPORT.results)


def test_files_are_named_after_date_and_commit(tmp_path: Path) -> None:
    """The JSON has every run, and what was worked out from them."""
    paths = write(REPORT, tmp_path / "results")
    assert [path.name for path in paths] == ["2026-01-31-0123456789.md", "2026-01-31-0123456789.json"]
    kept = msgspec.json.decode(paths[1].read_bytes())
    assert kept["machine"]["dirty"] is True
    assert kept["comparisons"]["check, c=1"]["rate_ratio"] == 0.375
    assert len(kept["comparisons"]["check, c=1"]["result"]["subject_runs"]) == 2


def test_figures_by_themselves_have_a_table_of_their_own() -> None:
    """Each with its unit, and whether it is within its goal."""
    within = Measure("account", "bytes of memory", 276.04, "of many", most=320)
    beyond = Measure("key", "bytes of memory", 1_144.5, "of one", most=120)
    free = Measure("a million checks", "CPU-seconds", 13, "of the edge")
    assert [measure_cells(measure)[2:] for measure in (within, beyond, free)] == [
        ["276.0", "≤ 320: met"],
        ["1,144.5", "≤ 120: missed"],
        ["13.0", ""],
    ]
    report = Report(MACHINE, 1, 1, [], [within, beyond, free])
    assert measures_table(report).row_count == 3
    assert "- **key**: of one." in markdown(report)
    assert msgspec.json.decode(json(report))["measures"]["account"]["value"] == 276.04


def test_tables_of_a_page_are_written_anew(tmp_path: Path) -> None:
    """What stands between the marks goes, what stands around them stays, however often."""
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n{PAGE_BEGIN}\nold\n{PAGE_END}\nthe end\n")
    for _ in range(2):
        publish(REPORT, page)
    text = page.read_text()
    assert text.startswith("# Title\n")
    assert text.endswith("\nthe end\n")
    assert "old" not in text
    assert text.count("check, c=1 (requests)") == 1
