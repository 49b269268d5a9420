"""One demo for the tests of this folder; each has customers of its own."""

from collections.abc import Iterator
from itertools import count

import httpx
import pytest

from tests.app.embedded.probes import is_alive
from tests.demo.browser import Browser, open_browser
from tests.demo.running import RunningDemo, running_demo

_numbers = count(1)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """The demo, which leaves nothing running and nothing outside its directory."""
    directory = tmp_path_factory.mktemp("demo") / ".demo"
    with running_demo(directory) as running:
        pids = running.stack["pids"]
        yield running
    assert [name for name, pid in pids.items() if is_alive(pid)] == []
    assert not (directory / "not-here").exists()


@pytest.fixture
def customer() -> str:
    """A name that nobody has yet."""
    return f"customer-{next(_numbers)}"


@pytest.fixture
def visitor(demo: RunningDemo, customer: str) -> Iterator[httpx.Client]:
    """Somebody who has signed in without a browser."""
    with httpx.Client(base_url=demo.url, timeout=30) as client:
        assert client.post("/api/sign-in", json={"name": customer}).status_code == 204
        yield client


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium without a window, with a profile of its own."""
    with open_browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened
