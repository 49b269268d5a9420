"""What the total was at a moment, from the ledger's entries."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from app.embedded.valkey import EmbeddedValkey
from app.io.clock import Clock
from app.wire.codes import Code
from tests.app.core import Client, Tenant, open_core
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls

BALANCE = "/v1/customers/u/balance"
START = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
LATER = datetime(2026, 9, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class SetClock(Clock):
    """Shows the moment that it was set to."""

    def __init__(self) -> None:
        self.moment = START

    def now(self) -> datetime:
        """That moment."""
        return self.moment


def shown(moment: datetime) -> str:
    """As a client sends it."""
    return moment.isoformat().replace("+00:00", "Z")


async def brief(client: Client, at: datetime | None) -> tuple[Any, ...]:
    """Total, seq and time of the entry, at a moment."""
    query = {} if at is None else {"at": shown(at)}
    body = await client.read(BALANCE, **query)
    return body["total"], body["seq"], body["posted_at"]


async def test_the_total_at_every_moment(urls: DatabaseUrls, valkey: EmbeddedValkey) -> None:
    """At an entry it is included, a microsecond before it is not; before the first 0; from the last on the present.

    Of several entries of one moment all are included. For any number of entries.
    """
    clock, random = SetClock(), Random(5)
    async with open_core(urls, valkey.url, clock) as core:
        client = (await core.tenant()).sandbox
        await client.made("/v1/customers", {"end_user_id": "u"})
        entries: list[tuple[datetime, int, int]] = [(START - timedelta(days=1), 0, 0)]
        for seq in range(1, 14):
            clock.moment += timedelta(seconds=random.choice([0, 1, 3600]))
            await client.made("/v1/credits/grants", {"end_user_id": "u", "amount": seq})
            entries.append((clock.moment, seq, entries[-1][2] + seq))
            now = clock.moment
            clock.moment = LATER
            for moment in {entry[0] + delta for entry in entries for delta in (-MICROSECOND, timedelta(), MICROSECOND)}:
                posted_at, last, total = max(entry for entry in entries if entry[0] <= max(moment, entries[0][0]))
                expected = (total, last, shown(posted_at) if last else None)
                assert await brief(client, moment) == expected
            assert await brief(client, None) == await brief(client, LATER) == (total_of(entries), seq, shown(now))
            clock.moment = now


def total_of(entries: list[tuple[datetime, int, int]]) -> int:
    """The total after the last entry."""
    return entries[-1][2]


async def test_the_future_is_the_present(tenant: Tenant) -> None:
    """The moment that is answered is then the one of the question."""
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "u"})
    await tenant.sandbox.made("/v1/credits/grants", {"end_user_id": "u", "amount": 1.5})
    before = datetime.now(UTC)
    for at in ("2099-01-01T00:00:00Z", "9999-12-31T00:00:00Z"):
        body = await tenant.sandbox.read(BALANCE, at=at)
        assert (body["total"], body["seq"]) == (1.5, 1)
        assert before <= datetime.fromisoformat(body["at"]) <= datetime.now(UTC)
    past = await tenant.sandbox.read(BALANCE, at="2020-01-01T01:00:00+01:00")
    assert past == {
        "end_user_id": "u",
        "at": "2020-01-01T00:00:00Z",
        "total": 0,
        "seq": 0,
        "posted_at": None,
    }


NO_MOMENTS = [
    "",
    "yesterday",
    "2026-01-01",
    "2026-01-01T00:00:00",
    "2026-13-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "1",
]


async def test_moments_that_are_none(tenant: Tenant) -> None:
    """Refused by name."""
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "u"})
    for at in NO_MOMENTS:
        assert_problem(await tenant.sandbox.get(BALANCE, at=at), Code.INVALID_VALUE, "at")


async def test_of_whom_nobody_knows(tenant: Tenant) -> None:
    """404."""
    assert_problem(await tenant.sandbox.get(BALANCE), Code.UNKNOWN_CUSTOMER)
