"""The whole product with a furnished environment, for tests that send it what nobody should."""

from collections.abc import AsyncIterator
from uuid import uuid4

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from app.wire.ids import parse
from tests.flow.stack import SECRETS, Client, Stack, open_session, running_stack
from tests.isolation.shop import Furnishing, Shop


class House(msgspec.Struct):
    """The stack and the shop in it."""

    stack: Stack
    shop: Shop
    key: str
    """The API key of the shop's environment."""
    session: aiohttp.ClientSession


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest tests/robustness --schema-examples 500` looks for longer, and elsewhere each time."""
    parser.addoption("--schema-examples", type=int, default=0, help="examples of each operation and kind")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Real processes on real stores."""
    async with running_stack(tmp_path_factory.mktemp("stack")) as stack, open_session() as session:
        operator = Client(session, stack.core_url, SECRETS["ADMIN_TOKEN"])
        made = await operator.created("/v1/tenants", {"name": "t"})
        key = made["sandbox_key"]
        core, edge = (Client(session, url, key) for url in (stack.core_url, stack.edge_url))
        environment_id, tag = parse("env", made["sandbox_environment_id"]), uuid4().hex[:8]
        furnishing = Furnishing(core, edge, environment_id, tag, stack.stores.database_url)
        yield House(stack, await furnishing.make(), key, session)
