"""What is compared, by name. Each module starts its servers, yields its comparisons, and stops the servers again."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from loadtests.bench import check, diy, flush, usage, verify
from loadtests.measuring import Comparison


class Bench(NamedTuple):
    """The programs that it needs, and its comparisons, which live in a directory that is thrown away."""

    programs: tuple[str, ...]
    comparisons: Callable[[Path], AbstractContextManager[list[Comparison]]]


BENCHES: Mapping[str, Bench] = {
    module.__name__.rpartition(".")[2]: Bench(module.PROGRAMS, module.comparisons)
    for module in (check, usage, flush, verify, diy)
}
