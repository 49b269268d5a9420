"""How commands end that are told to stop, and what processes log."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest

from app.io.process import stop_as_interrupted
from app.wire.redaction import Redactor
from edge.log_lines import JsonLines


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


def test_lines_have_one_form() -> None:
    """What we log and what a library logs: one JSON object a line, with the same members as the edge's."""
    script = (
        "import logging, structlog; from app.io.process import configure_logging\n"
        "from app.wire.redaction import Redactor\n"
        "configure_logging('info', 'core', Redactor())\n"
        "with structlog.contextvars.bound_contextvars(request_id='r-1'):\n"
        "    structlog.get_logger().info('ours', status=200)\n"
        "    try: raise LookupError('two\\nlines')\n"
        "    except LookupError: logging.getLogger('theirs').exception('theirs %s', 1)\n"
        "logging.getLogger('theirs').info('too quiet')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    ours, theirs = [msgspec.json.decode(line) for line in done.stderr.splitlines()]
    always = {"level", "event", "process", "pid", "request_id", "time"}
    assert ours.keys() == always | {"status"}
    assert theirs.keys() == always | {"exception"}
    assert (theirs["event"], theirs["level"], theirs["process"]) == ("theirs 1", "error", "core")
    assert theirs["exception"].endswith("LookupError: two\nlines")
    record = logging.getLogger("edge").makeRecord("edge", logging.INFO, "", 1, "x", (), None)
    edges = msgspec.json.decode(JsonLines(Redactor()).format(record))
    assert edges.keys() == always - {"request_id"}
    assert len(edges["time"]) == len(ours["time"])
