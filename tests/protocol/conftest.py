"""How long the model runs: `pytest tests/protocol --protocol-runs 100000 --protocol-seed 2000` explores further."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

RUNS, SEED = 10_000, 0


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options."""
    parser.addoption("--protocol-runs", type=int, default=RUNS, help="schedules of the protocol's model, of each kind")
    parser.addoption("--protocol-seed", type=int, default=SEED, help="seed of the first schedule")


@pytest.fixture
def seeds(request: pytest.FixtureRequest) -> range:
    """Seeds to run; where pytest was started from above, the options are not known and their defaults hold."""
    first: int = request.config.getoption("--protocol-seed", SEED)  # pyright: ignore[reportAssignmentType] - it has a type
    runs: int = request.config.getoption("--protocol-runs", RUNS)  # pyright: ignore[reportAssignmentType] - it has a type
    return range(first, first + runs)


@pytest.fixture(scope="session")
def pool() -> Iterator[ProcessPoolExecutor]:
    """A process for every processor."""
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        yield pool
