"""Whether processes stay as they are once they are warm: pure."""

from collections.abc import Iterator, Sequence
from itertools import dropwhile, groupby
from statistics import median

import msgspec

from loadtests.soak.sampling import Sample

WARM_UP_SHARE, LEAST_WARM_UP_SECONDS = 0.4, 90
"""Of a run: caches fill, pools open, allocators find their size, and the first keys are forgotten."""
COMPARED_SHARE = 0.25
"""Of what comes after it: the first such part is compared with the last, median with median."""
GROWTH_SHARE = 0.10
LEAST_GROWTH_BYTES, LEAST_GROWTH_DESCRIPTORS = 8 * 1024 * 1024, 16
"""So much is no growth, however little there was."""
LEAST_SAMPLES = 4
"""After the warm-up: one for each part."""


class TooShort(Exception):
    """There is nothing to compare."""


class Line(msgspec.Struct, frozen=True):
    """One figure of one process: medians after the warm-up and at the end, and the most that was seen at all."""

    process: str
    figure: str
    before: float
    after: float
    peak: float
    most: float
    """What it may be at the end."""

    @property
    def is_flat(self) -> bool:
        """Whether it stayed within its tolerance."""
        return self.after <= self.most


class Verdict(msgspec.Struct, frozen=True):
    """What is said of all samples."""

    lines: list[Line]
    changed: list[str]
    """Processes that ended, or others took their place, since they were first there."""

    @property
    def is_flat(self) -> bool:
        """Whether nothing grew, and nothing went."""
        return not self.changed and all(line.is_flat for line in self.lines)


def judge(samples: Sequence[Sample], *, are_killed: bool = False) -> Verdict:
    """Compare what was held after the warm-up with what was held at the end. Raises TooShort.

    Where processes are killed on purpose, each is judged by its longest life, as if that were all of the run.
    """
    _warm(samples)
    names = sorted({name for one in samples for name in one.held})
    changed = [] if are_killed else [name for name in names if _has_changed(name, samples)]
    lines = [line for name in names if name not in changed for line in _lines(name, _longest_life(name, samples))]
    return Verdict(lines, changed)


def _warm(samples: Sequence[Sample]) -> Sequence[Sample]:
    """What comes after the warm-up. Raises TooShort where that is too little."""
    began_at, ended_at = (samples[0].seconds, samples[-1].seconds) if samples else (0, 0)
    warm_at = began_at + max((ended_at - began_at) * WARM_UP_SHARE, LEAST_WARM_UP_SECONDS)
    warm = [one for one in samples if one.seconds >= warm_at]
    if len(warm) < LEAST_SAMPLES:
        raise TooShort(f"{len(samples)} samples are too few to compare: let it run for longer.")
    return warm


def _longest_life(name: str, samples: Sequence[Sample]) -> list[Sample]:
    """The most samples in a row with one and the same process of this name."""
    lives = groupby(samples, lambda one: one.held[name].pid if name in one.held else None)
    return max((list(life) for pid, life in lives if pid is not None), key=len)


def _has_changed(name: str, samples: Sequence[Sample]) -> bool:
    """Whether it went, or another came in its place, since it was first there; the warm-up excuses neither."""
    pids = [one.held[name].pid if name in one.held else None for one in samples]
    return len(set(dropwhile(lambda pid: pid is None, pids))) > 1


def _lines(name: str, life: Sequence[Sample]) -> Iterator[Line]:
    everything = [one.held[name] for one in life]
    held = [one.held[name] for one in _warm(life)]
    memory = [one.memory_bytes for one in held]
    yield _line(name, "memory", memory, max(one.memory_bytes for one in everything), LEAST_GROWTH_BYTES)
    descriptors = [one.descriptors for one in held]
    if any(descriptors):
        most = max(one.descriptors for one in everything)
        yield _line(name, "descriptors", descriptors, most, LEAST_GROWTH_DESCRIPTORS)


def _line(name: str, figure: str, values: Sequence[int], peak: int, least: int) -> Line:
    count = max(1, int(len(values) * COMPARED_SHARE))
    before, after = median(values[:count]), median(values[-count:])
    return Line(name, figure, before, after, peak, before + max(before * GROWTH_SHARE, least))
