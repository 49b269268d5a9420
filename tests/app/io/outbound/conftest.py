"""A session as webhooks are sent with, on the loop that processes run on."""

from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from app.io.outbound import Session, open_guarded_session
from tests.app.io.outbound.stranger import LOOPBACK


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    """One that may reach the loopback."""
    async with open_guarded_session(LOOPBACK) as opened:
        yield opened


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], AbstractEventLoop]]:
    """As in every process of the product."""
    return {"uvloop": uvloop.new_event_loop}
