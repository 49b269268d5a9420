"""The stack of a test."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.embedded.running_stack import RunningStack, StartStack, launch, stack_environment
from tests.waiting import wait_until

START_SECONDS = 60


@pytest.fixture
def start_stack(tmp_path: Path) -> Iterator[StartStack]:
    """Start a stack in the test's directory, again if wanted; whatever still runs at the end is stopped."""
    started: list[RunningStack] = []
    var_dir = tmp_path / "var"

    def start(**more: str) -> RunningStack:
        process = launch({**stack_environment(var_dir), **more})
        stack = RunningStack(process, var_dir)
        started.append(stack)

        def is_up() -> bool:
            assert process.poll() is None, process.communicate()[0]
            return (var_dir / "dev.json").exists()

        wait_until(is_up, START_SECONDS, "dev.json says that everything answers")
        return stack

    yield start
    for stack in started:
        if stack.process.poll() is None:
            stack.stop(signal.SIGTERM)
