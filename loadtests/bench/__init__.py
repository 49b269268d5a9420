"""What is measured, by name. Each module starts its servers, yields comparisons or figures, and stops them again."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from loadtests.bench import check, diy, durability, flush, many, renewals, reserve, size, usage, verify, webhooks
from loadtests.measuring import Comparison, Measure


class Bench(NamedTuple):
    """The programs that it needs, and what it yields, which lives in a directory that is thrown away."""

    programs: tuple[str, ...]
    comparisons: Callable[[Path], AbstractContextManager[list[Comparison]]] | None
    measures: Callable[[Path], list[Measure]] | None


BENCHES: Mapping[str, Bench] = {
    module.__name__.rpartition(".")[2]: Bench(
        module.PROGRAMS, getattr(module, "comparisons", None), getattr(module, "measures", None)
    )
    for module in (check, many, usage, reserve, durability, flush, renewals, webhooks, verify, diy, size)
}
