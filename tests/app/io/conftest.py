"""A session as webhooks are sent with."""

from collections.abc import AsyncIterator

import pytest

from app.io.outbound import Session, open_guarded_session
from tests.app.io.stranger import LOOPBACK


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    """One that may reach the loopback."""
    async with open_guarded_session(LOOPBACK) as opened:
        yield opened
