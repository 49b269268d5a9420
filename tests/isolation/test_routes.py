"""No route tells one environment of another: a walk over all of them, on both base URLs.

What a key of one environment is answered about the names of another is what it is answered about names that nobody has.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest

from app.web.forward import HOT_ROUTES
from app.wire import keys
from app.wire.events import show_stream_id
from edge.routes import ROUTES as EDGE_ROUTES
from tests.app.schema.catalogue import tenant_tables
from tests.flow.stack import Answer, Client
from tests.isolation.conftest import Street
from tests.isolation.examples import EXAMPLES, HOT, Example
from tests.isolation.shop import Names, Shop
from tests.waiting import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

OF_THE_OPERATOR = {("POST", "/v1/tenants")}
"""Takes no API key, and belongs to no environment."""
OF_JOBS = {"ledger_checkpoints", "ledger_checkpoint_heads"}
"""Written once a day, for everybody. When a key was last used is noted every now and then."""
METHODS = {"get", "post", "put", "patch", "delete"}
NOT_COMPARED = {"date", "x-request-id", "content-length", "etag", "ratelimit"}
_NAME = re.compile(r"<(\w+)>")
_MADE = re.compile(r"\b([a-z]+)_[0-9a-f]{32}\b|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KEY = re.compile(r"\bqs_(?:test|live)_\w+|\bwhsec_[\w+/=]+")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)")
_CURSOR = re.compile(r'("next_cursor": ?)"[\w-]+"')


def names_in(example: Example) -> list[str]:
    """Names of somebody that the example asks with."""
    return sorted(set(_NAME.findall(example.target + (example.body or ""))))


def fill_in(template: str, names: Names) -> str:
    """The template with these names."""
    return _NAME.sub(lambda found: names[found[1]], template)


async def ask(client: Client, example: Example, names: Names, **headers: str) -> Answer:
    """Send the example."""
    body = None if example.body is None else fill_in(example.body, names).encode()
    headers = {"x-request-id": "same", **headers}
    if body is not None:
        headers["content-type"] = example.content_type
    return await client.send(example.method, fill_in(example.target, names), data=body, headers=headers)


def told(answer: Answer, sent: Names, shop: Shop) -> str:
    """What the answer says, but for names that its reader sent or has, and for what was made just now.

    Names are looked for where they stand alone: a short one, such as a cursor, may well be a part of a random secret.
    """
    kept = {name.lower(): value for name, value in answer.headers.items() if name.lower() not in NOT_COMPARED}
    text = _CURSOR.sub(r'\1"<cursor>"', f"{answer.status} {sorted(kept.items())}\n{answer.raw.decode()}")
    text = _KEY.sub("<key>", text)
    for names in (sent, shop.names, {"tag": shop.tag}):
        for name, value in sorted(names.items(), key=lambda item: -len(item[1])):
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(value)}(?![A-Za-z0-9])", f"<{name}>", text)
    return _MOMENT.sub("<moment>", _MADE.sub(r"\1_<id>", text))


def clients(example: Example) -> Iterator[str]:
    """On which base URLs it is asked."""
    yield "core"
    if example in HOT:
        yield "edge"


async def rows(connection: asyncpg.Connection, environment_id: UUID) -> dict[str, list[str]]:
    """Everything that the ledger's database has of an environment, but for what jobs does there by itself."""
    found = {}
    for table in set(await tenant_tables(connection)) - OF_JOBS:
        statement = f"SELECT (to_jsonb(t) - 'last_used_at')::text FROM {table} t WHERE environment_id = $1 ORDER BY 1"  # noqa: S608 - names from the catalogue
        found[table] = [row[0] for row in await connection.fetch(statement, environment_id)]
    return found


async def memory(street: Street, environment_id: UUID) -> dict[bytes, bytes]:
    """Everything that Redis has under the name of an environment, but for streams, which many share."""
    redis = await street.stack.redis()
    try:
        ref = keys.environment_ref(environment_id)
        names = [name async for name in redis.client.scan_iter(count=1000) if ref in name]
        return {name: await redis.client.dump(name) for name in sorted(names)}
    finally:
        await redis.close()


async def posted(street: Street, connection: asyncpg.Connection) -> None:
    """Wait until everything that is in the streams by now is posted, and word of it is in the feed."""
    redis = await street.stack.redis()
    try:
        partitions = range(street.stack.agreement.partitions)
        ends = [
            (partition, show_stream_id((await redis.read_stream_end(partition)).last_id)) for partition in partitions
        ]
    finally:
        await redis.close()

    async def are_passed() -> bool:
        if await connection.fetchval("SELECT count(*) FROM outbox WHERE position IS NULL"):
            return False
        return {tuple(row) for row in await connection.fetch("SELECT partition, last_id FROM stream_cursors")} >= set(
            ends
        )

    await wait_until_async(are_passed, 30, "the streams to be posted")


@asynccontextmanager
async def untouched(street: Street, shop: Shop) -> AsyncIterator[None]:
    """Nothing of the shop changes in the block, in either store."""
    connection = await asyncpg.connect(street.stack.stores.database_url)
    try:
        await posted(street, connection)
        before = await rows(connection, shop.environment_id), await memory(street, shop.environment_id)
        assert all(before), "there is something to be changed"
        yield
        assert await memory(street, shop.environment_id) == before[1]
        assert await rows(connection, shop.environment_id) == before[0]
    finally:
        await connection.close()


async def compare(example: Example, askers: tuple[Shop, Shop], others: tuple[Names, Names], foreign: list[str]) -> int:
    """Ask of the one with somebody's names, of the other with invented ones. How many requests that were.

    What only reads is asked of the same one twice.
    """
    if example.only_reads:
        askers = (askers[0], askers[0])
    asked = 0
    pairs = [(shop, {name: names[name] for name in foreign}) for shop, names in zip(askers, others, strict=True)]
    for base in clients(example):
        answers = await asyncio.gather(
            *(
                ask(getattr(shop, base), example, shop.names | names, **{"idempotency-key": uuid4().hex})
                for shop, names in pairs
            )
        )
        one, other = [
            told(answer, names, shop) for answer, names, (shop, _) in zip(answers, others, pairs, strict=True)
        ]
        assert one == other, (base, example, foreign)
        assert answers[0].status < 500, one
        sent = {others[0][name] for name in foreign}
        found = [value for value in made_ids(others[0]) if value not in sent and value in answers[0].raw.decode()]
        assert not found, (base, example, foreign)
        asked += 2
    return asked


async def walk(askers: tuple[Shop, Shop], owner: Shop) -> int:
    """Every example, with each name of the owner's by itself and with all of them. How many requests that were.

    What changes something comes last: the asking may call their own things as the owner does from then on.
    """
    others, asked = (owner.names, owner.invented()), 0
    for example in sorted(EXAMPLES, key=lambda example: not example.only_reads):
        found = names_in(example)
        for foreign in [*([name] for name in found), *([found] if len(found) != 1 else [])]:
            asked += await compare(example, askers, others, foreign)
    return asked


async def test_every_route_has_its_example(street: Street) -> None:
    """Of both processes: what the document shows, what is forwarded, and what the edge takes."""
    document = (await street.asked_after.core.get("/schema")).body
    shown = {
        (method.upper(), path) for path, item in document["paths"].items() for method in METHODS & item.keys()
    } - OF_THE_OPERATOR
    examples = {(example.method, example.route) for example in EXAMPLES}
    assert examples == shown
    of_the_edge = {(method.decode(), path.decode()) for method, path in EDGE_ROUTES}
    assert {(example.method, re.sub(r"\{\w+\}", "{}", example.route)) for example in HOT} == of_the_edge
    assert {(method, re.sub(r"\{\w+:str\}", "{}", path)) for method, path in HOT_ROUTES} == of_the_edge


async def test_names_of_another_tenant(street: Street) -> None:
    """Are worth what invented ones are, and nothing of that tenant changes."""
    async with untouched(street, street.asked_after):
        assert await walk((street.of_another, street.of_a_third), street.asked_after) > 300


async def test_names_of_the_sandbox_in_live(street: Street) -> None:
    """One tenant's live key knows as little of its sandbox as anybody."""
    async with untouched(street, street.asked_after):
        assert await walk((street.live, street.live_of_another), street.asked_after) > 300


async def test_the_same_names_and_keys_elsewhere(street: Street) -> None:
    """Two tenants who call everything alike, and send the same idempotency keys, never meet."""
    owner, twin = street.asked_after, street.twin
    first = await play(owner)
    ids = made_ids(owner.names)
    async with untouched(street, owner):
        second = await play(twin)
    for example, one, other in zip(EXAMPLES, first, second, strict=True):
        assert one.status == other.status, (example, one.raw, other.raw)
        assert one.headers.get("idempotent-replayed") == other.headers.get("idempotent-replayed"), example
        assert not [value for value in ids if value in other.raw.decode()], example


async def play(shop: Shop) -> list[Answer]:
    """Every example with the shop's own names, under keys that depend on the example alone."""
    return [
        await ask(shop.core, example, shop.names, **{"idempotency-key": f"example-{number}"})
        for number, example in enumerate(EXAMPLES)
    ]


def made_ids(names: Names) -> list[str]:
    """What the service called things: these ids are one shop's alone, and nobody else is ever told of them."""
    return [value for value in names.values() if _MADE.fullmatch(value)]
