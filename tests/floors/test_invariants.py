"""The page of invariants has each number once, and says of `quotastack ledger verify` what it looks at."""

import re
from collections import Counter
from collections.abc import Iterator

from tests.floors.source import ROOT, refuse, sources

PAGE = "docs/invariants.md"
PLANNED = range(1, 61)
"""The numbers that the design began with; what came later has higher ones."""
ROW = re.compile(r"^\| (?P<number>\d+) \|.*\| (?P<shown>[^|]*) \|$", re.MULTILINE)
REPORTED = re.compile(r"(?:report|_compare|Finding)\(\s*(\d+)(?: if [\w.]+ else (\d+))?,")
"""A finding, by the number of what does not hold."""
OF_JOBS = "app/ledger/reconciling.py"
"""What only `jobs` finds: it has seen the account before."""


def untold(page: str, reported: set[int]) -> Iterator[str]:
    """Numbers that the page lacks or has twice, and those of which it says another thing about `verify`."""
    rows = [(int(row["number"]), row["shown"]) for row in ROW.finditer(page)]
    times = Counter(number for number, _ in rows)
    for number in sorted({*PLANNED, *reported, *times}):
        if times[number] != 1:
            yield f"{PAGE}: {number} is there {times[number]} times"
    for number, shown in rows:
        if (re.match(r"V\b", shown) is not None) != (number in reported):
            yield f"{PAGE}: {number} is {'' if number in reported else 'not '}what verify looks at"


def reported_by_verify() -> set[int]:
    """Every number that a finding of it may have."""
    ledger = [source for source in sources("app") if source.path.startswith("app/ledger/") and source.path != OF_JOBS]
    return {int(number) for source in ledger for found in REPORTED.findall(source.text) for number in found if number}


def test_every_invariant_has_its_place() -> None:
    """Each number of the plan, and each that verify names, is on the page once."""
    repair = "Give it a row with its number and the tests that show it; it begins with V where verify looks at it."
    refuse(untold((ROOT / PAGE).read_text(), reported_by_verify()), repair)


def test_this_floor_bites() -> None:
    """A row that is missing, one that is there twice, and one that says too much or too little of verify."""
    rows = [f"| {number} | it | V, `tests/a.py::test_a` |" for number in PLANNED]
    everything = {*PLANNED}
    assert not list(untold("\n".join(rows), everything))
    assert list(untold("\n".join(rows[1:]), everything))
    assert list(untold("\n".join([*rows, rows[0]]), everything))
    assert list(untold("\n".join(rows), everything - {1}))
    assert list(untold("\n".join(rows).replace("V, ", ""), everything))
    assert {1, 12, 30, 31, 62} <= reported_by_verify()
