"""How commands end that are told to stop."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from app.io.process import stop_as_interrupted


@pytest.fixture
def handlers() -> Iterator[None]:
    """The signals' handlers are given back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("interrupt", [signal.default_int_handler, signal.SIG_IGN], ids=["in front", "in background"])
def test_a_signal_cancels_and_raises_nowhere_else(number: signal.Signals, interrupt: signal.Handlers) -> None:
    """What runs when it comes, runs on to where it waits: half a step would be lost for good."""
    met: list[str] = []

    async def work() -> None:
        os.kill(os.getpid(), number)
        met.append("went on")
        try:
            await asyncio.Future()
        except asyncio.CancelledError:
            met.append("was cancelled")
            raise

    signal.signal(signal.SIGINT, interrupt)
    stop_as_interrupted()
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(work())
    assert met == ["went on", "was cancelled"]
