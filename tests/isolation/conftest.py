"""The whole product, and shops in it: one that is asked after, and others whose keys ask."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from app.wire.ids import parse
from tests.flow.stack import SECRETS, Client, Stack, open_session, running_stack
from tests.isolation.shop import Furnishing, Shop

OWNED = "f"
"""How the tag begins of names that are asked after; those of the asking begin with an 'a', so they sort before."""


class Street(msgspec.Struct):
    """Shops of four tenants."""

    stack: Stack
    asked_after: Shop
    """A sandbox."""
    of_another: Shop
    """A sandbox of another tenant."""
    of_a_third: Shop
    """A third one's, which is asked the same with names that nobody has."""
    live: Shop
    """The live environment of the tenant whose sandbox is asked after."""
    live_of_another: Shop
    twin: Shop
    """A sandbox of a fourth tenant with all the names of the one that is asked after."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def street(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Street]:
    """All of them, open for business."""
    async with running_stack(tmp_path_factory.mktemp("stack")) as stack, open_session() as session:
        yield await furnish(stack, session)


async def furnish(stack: Stack, session: aiohttp.ClientSession) -> Street:
    """The one that is asked after first: what is made later sorts behind it."""
    operator = Client(session, stack.core_url, SECRETS["ADMIN_TOKEN"])
    tenants = [await operator.created("/v1/tenants", {"name": f"t{number}"}) for number in range(4)]

    async def open_shop(number: int, kind: str, tag: str) -> Shop:
        key: str = tenants[number][f"{kind}_key"]
        environment_id: UUID = parse("env", tenants[number][f"{kind}_environment_id"])
        core, edge = (Client(session, url, key) for url in (stack.core_url, stack.edge_url))
        return await Furnishing(core, edge, environment_id, tag, stack.stores.database_url).make()

    asked_after = await open_shop(0, "sandbox", OWNED + uuid4().hex[:7])
    others = [(1, "sandbox"), (2, "sandbox"), (0, "live"), (1, "live")]
    tags = [f"a{uuid4().hex[:7]}" for _ in others]
    opened = [open_shop(*which, tag) for which, tag in zip(others, tags, strict=True)]
    return Street(stack, asked_after, *await asyncio.gather(*opened, open_shop(3, "sandbox", asked_after.tag)))
