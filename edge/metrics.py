"""What the edge counts of itself: integers in memory that all its workers share, so that any of them can tell it all.

The parent makes the memory before it forks (`Board`). Each worker writes its own part of it and nothing else, so nobody
waits for anybody; to count is to add to one cell. Whoever takes a dead worker's place goes on with that one's part, so
what is counted never falls, and nothing is left behind that would have to be cleaned up. Why not Prometheus' library:
docs/decisions/0025-metrics.md.

A metric is made once, at the top of the module that knows the figure, with every value that its labels may have. Its
row is in docs/metrics.md.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from mmap import mmap

PREFIX = "quotastack_edge_"
CONTENT_TYPE = b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
MICROSECONDS = (100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 2_500_000)
"""Upper ends of the buckets of a histogram; durations are counted in microseconds and told in seconds."""
CELL_BYTES = 8

_SUM = len(MICROSECONDS) + 1  # behind the buckets, the last of which has no end
_BUCKET_NAMES = (*(f"{end / 1_000_000:g}" for end in MICROSECONDS), "+Inf")


class LateMetric(Exception):
    """A metric was made after the memory was laid out."""


class _Memory:
    """The part that this process writes, and all parts; before a board is made there is one, of this process alone."""

    def __init__(self) -> None:
        self.width = 0
        self.metrics: list[_Metric] = []
        self.own: memoryview = memoryview(bytearray()).cast("q")
        self.parts: Sequence[memoryview] = [self.own]
        self.is_laid_out = False

    def reserve(self, metric: "_Metric", cells: int) -> int:
        """Room for a metric: where it begins."""
        if self.is_laid_out:
            raise LateMetric(metric.name)
        first, self.width = self.width, self.width + cells
        self.metrics.append(metric)
        self.own = memoryview(bytearray(self.width * CELL_BYTES)).cast("q")
        self.parts = [self.own]
        return first


_memory = _Memory()
Row = int
"""Where the figures of one combination of labels are."""


class _Metric:
    """A name, and a row of cells for each combination of its labels' values."""

    kind = ""
    cells = 1

    def __init__(self, name: str, help_text: str, labels: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.name = name
        self._help_text = help_text
        self._labels = labels
        self._first = _memory.reserve(self, self.cells * len(rows))
        self._rows = {tuple(row): self._first + number * self.cells for number, row in enumerate(rows)}

    def row(self, *values: str) -> Row:
        """The row of these values; looked up once, not whenever something is counted."""
        return self._rows[values]

    def text(self, parts: Sequence[memoryview]) -> Iterator[str]:
        """Its lines. Of labels only what was met is told."""
        yield f"# HELP {self.name} {self._help_text}"
        yield f"# TYPE {self.name} {self.kind}"
        for values, row in self._rows.items():
            cells = [self.combine(part[cell] for part in parts) for cell in range(row, row + self.cells)]
            if any(cells) or not values:
                yield from self.lines(
                    [f'{name}="{value}"' for name, value in zip(self._labels, values, strict=True)], cells
                )

    def combine(self, figures: Iterable[int]) -> int:
        """What the workers' figures come to."""
        return sum(figures)

    def lines(self, labels: list[str], cells: list[int]) -> Iterator[str]:
        """The lines of one row."""
        yield f"{self.name}{_braced(labels)} {_shown(self.name, cells[0])}"


class Counter(_Metric):
    """What only rises."""

    kind = "counter"

    def add(self, row: Row, count: int = 1) -> None:
        """Count some more."""
        _memory.own[row] += count


class Gauge(_Metric):
    """What rises and falls; of several workers it is the sum, or what `combining` makes of it."""

    kind = "gauge"

    def __init__(self, name: str, help_text: str, combining: Callable[[Iterable[int]], int]) -> None:
        super().__init__(name, help_text, (), [()])
        self._combining = combining

    def set(self, figure: int) -> None:
        """As it is now; a duration in microseconds."""
        _memory.own[self._first] = figure

    def combine(self, figures: Iterable[int]) -> int:
        """As it was told when it was made."""
        return self._combining(figures)


class Histogram(_Metric):
    """How long things took."""

    kind = "histogram"
    cells = _SUM + 1

    def observe(self, row: Row, microseconds: int) -> None:
        """Count one that took so long."""
        own = _memory.own
        own[row + bisect_left(MICROSECONDS, microseconds)] += 1
        own[row + _SUM] += microseconds

    def lines(self, labels: list[str], cells: list[int]) -> Iterator[str]:
        """Each bucket with those below it, the sum, the count."""
        count = 0
        for name, cell in zip(_BUCKET_NAMES, cells, strict=False):
            count += cell
            end = f'le="{name}"'
            yield f"{self.name}_bucket{_braced([*labels, end])} {count}"
        yield f"{self.name}_sum{_braced(labels)} {_shown(self.name, cells[_SUM])}"
        yield f"{self.name}_count{_braced(labels)} {count}"


def counter(name: str, help_text: str, labels: Sequence[str] = (), rows: Sequence[Sequence[str]] = ((),)) -> Counter:
    """A counter; `rows` are all combinations of values that the labels may have."""
    return Counter(name, help_text, labels, rows)


def gauge(name: str, help_text: str, combining: Callable[[Iterable[int]], int] = sum) -> Gauge:
    """A gauge; `combining` says what several workers' figures come to."""
    return Gauge(name, help_text, combining)


def histogram(
    name: str, help_text: str, labels: Sequence[str] = (), rows: Sequence[Sequence[str]] = ((),)
) -> Histogram:
    """A histogram of durations; `rows` as of a counter."""
    return Histogram(name, help_text, labels, rows)


class Board:
    """The memory of all workers. Made by the parent, once every module that counts was imported."""

    def __init__(self, workers: int) -> None:
        _memory.is_laid_out = True
        self._width = _memory.width
        self._cells = memoryview(mmap(-1, max(1, workers * self._width) * CELL_BYTES)).cast("q")
        _memory.parts = [self._part(number) for number in range(workers)]

    def _part(self, number: int) -> memoryview:
        return self._cells[number * self._width : (number + 1) * self._width]

    def take(self, number: int) -> None:
        """From here on this process counts as the worker of this number. What only its predecessor had is gone."""
        _memory.own = _memory.parts[number]
        for metric in _memory.metrics:
            if isinstance(metric, Gauge):
                metric.set(0)


def exposition() -> bytes:
    """Every figure of all workers, as text of CONTENT_TYPE."""
    lines = (line for metric in _memory.metrics for line in metric.text(_memory.parts))
    return "".join(f"{line}\n" for line in lines).encode()


def _braced(labels: Sequence[str]) -> str:
    return f"{{{','.join(labels)}}}" if labels else ""


def _shown(name: str, figure: int) -> str:
    return f"{figure / 1_000_000:.6f}" if name.endswith("_seconds") else str(figure)
