"""The options of a chaos run: `pytest tests/chaos --chaos-seed 7 --chaos-seconds 480`. No other run collects it."""

import secrets

import pytest

from tests.chaos.schedule import SHORTEST_SECONDS

SECONDS = 480.0
SETTLE_SECONDS = 600.0
"""What comes before and after the time in which things are broken."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the two options."""
    parser.addoption("--chaos-seed", type=int, default=None, help="repeats the run that printed it; else by chance")
    parser.addoption("--chaos-seconds", type=float, default=SECONDS, help="how long things are broken")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A run may take as long as it was told to, and then some."""
    for item in items:
        item.add_marker(pytest.mark.timeout(_seconds(config) + SETTLE_SECONDS))


@pytest.fixture
def chaos_seed(request: pytest.FixtureRequest) -> int:
    """What everything that is left to chance follows from."""
    seed = request.config.getoption("--chaos-seed")
    return secrets.randbelow(1_000_000) if seed is None else seed


@pytest.fixture
def chaos_seconds(request: pytest.FixtureRequest) -> float:
    """How long things are broken."""
    seconds = _seconds(request.config)
    if seconds < SHORTEST_SECONDS:
        pytest.fail(f"--chaos-seconds is at least {SHORTEST_SECONDS:g}")
    return seconds


def _seconds(config: pytest.Config) -> float:
    seconds = config.getoption("--chaos-seconds")
    assert isinstance(seconds, float)
    return seconds
