"""What a soak sees of processes, and what it says of it."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from app.doctor.showing import CheckDocument
from loadtests.soak import page
from loadtests.soak.__main__ import main
from loadtests.soak.page import Soak
from loadtests.soak.sampling import Held, Sample, read, read_all
from loadtests.soak.verdict import LEAST_GROWTH_BYTES, TooShort, Verdict, judge
from tests.loadtests.test_load_outcome import OUTCOME

SAMPLES = 200
MEBIBYTE = 1024 * 1024


def samples_of(
    memory_bytes: Callable[[float], float], descriptors: Callable[[float], float] = lambda _: 20
) -> list[Sample]:
    """One process whose figures follow from the share of the run that is over."""
    shares = [number / (SAMPLES - 1) for number in range(SAMPLES)]
    return [
        Sample(share * 600, {"edge": Held(7, int(memory_bytes(share)), int(descriptors(share)))}) for share in shares
    ]


@pytest.mark.parametrize(
    ("memory_bytes", "is_flat"),
    [
        (lambda _: 50 * MEBIBYTE, True),
        (lambda share: 500 * MEBIBYTE * min(share, 0.4), True),
        (lambda share: 500 * MEBIBYTE * (1 + 0.1 * share), True),
        (lambda share: 500 * MEBIBYTE * (1 + 0.5 * share), False),
        (lambda share: 10 * MEBIBYTE + LEAST_GROWTH_BYTES * share, True),
        (lambda share: 10 * MEBIBYTE + 4 * LEAST_GROWTH_BYTES * share, False),
        (lambda share: (50 if share < 0.99 else 5_000) * MEBIBYTE, True),
        (lambda share: 500 * MEBIBYTE * (1 - 0.9 * share), True),
    ],
    ids=["still", "warms up", "a little", "grows", "small", "small and grows", "once", "shrinks"],
)
def test_a_process_is_flat_within_its_tolerance(memory_bytes: Callable[[float], float], *, is_flat: bool) -> None:
    """What it did while it warmed up does not count, nor does one moment."""
    verdict = judge(samples_of(memory_bytes))
    assert verdict.is_flat is is_flat
    assert {line.figure: line.is_flat for line in verdict.lines} == {"memory": is_flat, "descriptors": True}


def test_descriptors_that_are_never_closed_are_seen() -> None:
    """However little memory they take."""
    verdict = judge(samples_of(lambda _: 50 * MEBIBYTE, lambda share: 20 + 100 * share))
    assert {line.figure: line.is_flat for line in verdict.lines} == {"memory": True, "descriptors": False}


@pytest.mark.parametrize("held", [{}, {"edge": Held(8, 50 * MEBIBYTE, 20)}], ids=["gone", "another"])
@pytest.mark.parametrize(
    "when", [slice(-3, -2), slice(-3, None), slice(1, 2), slice(1, None)], ids=["late", "at the end", "early", "ever"]
)
def test_a_process_that_was_not_there_all_the_time_is_named(held: dict[str, Held], when: slice) -> None:
    """Before the warm-up is over, too: there is nothing to compare of it, and the soak has failed."""
    samples = samples_of(lambda _: 50 * MEBIBYTE)
    samples[when] = [Sample(one.seconds, held) for one in samples[when]]
    assert judge(samples) == Verdict([], ["edge"])
    assert not judge(samples).is_flat


@pytest.mark.parametrize(("grows", "is_flat"), [(0, True), (1, False)])
def test_a_process_that_is_killed_is_judged_by_its_longest_life(grows: float, *, is_flat: bool) -> None:
    """Its warm-up begins when it does; what shorter lives held says nothing."""
    samples = samples_of(lambda share: 500 * MEBIBYTE * (1 + grows * max(0, share - 0.3)))
    early = int(0.3 * SAMPLES)
    samples[:early] = [Sample(one.seconds, {"edge": Held(6, 5_000 * MEBIBYTE, 20)}) for one in samples[:early]]
    samples[early] = Sample(samples[early].seconds, {})
    assert judge(samples).changed == ["edge"]
    assert judge(samples, are_killed=True).is_flat is is_flat


def test_a_process_may_be_late_to_come() -> None:
    """A worker that was not there yet at the first look has not ended."""
    samples = samples_of(lambda _: 50 * MEBIBYTE)
    samples[0] = Sample(0, {})
    assert judge(samples).is_flat


def test_too_few_samples_are_no_proof() -> None:
    """It says so in place of a verdict."""
    with pytest.raises(TooShort):
        judge(samples_of(lambda _: 1)[:5])


def test_what_a_process_holds_is_read() -> None:
    """Of this one: memory and descriptors, one more where a file is open, and none of a process that is gone."""
    before = read(os.getpid())
    assert before.memory_bytes > MEBIBYTE
    with Path(os.devnull).open() as opened:
        assert read(os.getpid()).descriptors == before.descriptors + 1, opened
    gone = 2**22
    assert set(dict(read_all({"core": os.getpid(), "edge": gone, "jobs": None, "postgres": os.getpid()}))) >= {
        "core",
        "postgres",
    }


def test_page_says_what_grew(tmp_path: Path) -> None:
    """A soak with a process that grew has failed, whatever the load says, and both files are there."""
    flat, grown = (judge(samples_of(lambda share, by=by: 500 * MEBIBYTE * (1 + by * share))) for by in (0, 1))
    agree = CheckDocument("drift", "ok", "none of 9 accounts", "")
    soaks = [Soak(OUTCOME, 1_000, 20, 0, agree, verdict, samples_of(lambda _: 1)) for verdict in (flat, grown)]
    assert [soak.has_passed for soak in soaks] == [True, False]
    adrift = msgspec.structs.replace(agree, status="problem", seen="1 account")
    assert not msgspec.structs.replace(soaks[0], drift=adrift).has_passed
    pages = [page.markdown(soak) for soak in soaks]
    assert [("passed" in text, "GREW" in text) for text in pages] == [(True, False), (False, True)]
    assert "| edge | memory | 737.4 MiB | 963.6 MiB |" in pages[1]
    written = {path.suffix: path.read_bytes() for path in page.write(soaks[1], tmp_path)}
    assert msgspec.json.decode(written[".json"])["verdict"]["lines"][0]["process"] == "edge"


def test_command_has_bounds() -> None:
    """A run that is too short to say anything is refused."""
    assert CliRunner().invoke(main, ["--seconds", "119"]).exit_code == 2
