"""What the benchmarks are made of still fits the product: whoever changes a script or a table learns of it here."""

import asyncio
from pathlib import Path

import pytest

from app.wire import scripts
from loadtests import wrk
from loadtests.accepting import accept_call
from loadtests.bench.check import TARGET
from loadtests.bench.renewals import Renewals
from loadtests.bench.reserve import drive_pairs
from loadtests.bench.usage import usage_request
from loadtests.bench.webhooks import percentile, running_webhooks
from loadtests.catalogue import Catalogue
from loadtests.customer import END_USER_ID
from loadtests.flushing import time_copy
from loadtests.ledger import check_ledger
from loadtests.measuring import WrongResult
from loadtests.notifying import check
from loadtests.programs import MissingPrograms, find
from loadtests.receiver import Received
from loadtests.renewing import time_plain_sql
from loadtests.servers import get
from loadtests.stack import running_edge_stack
from loadtests.stores import running_postgres, running_valkey


def test_the_customer_is_one_whom_the_edge_serves(tmp_path: Path) -> None:
    """Checks, usage by the script alone, and the books that are looked at after each run."""
    with running_edge_stack(tmp_path) as edge:
        assert get(edge.port, TARGET, edge.customer.api_key).status == 200
        edge.redis.script_load(scripts.ACCEPT.text)
        answers = [edge.redis.evalsha(*accept_call(edge.customer.catalogue, END_USER_ID, key)) for key in "abc"]
        assert [answer[0] for answer in answers] == [b"ok"] * 3
        edge.customer.check_books(3, 3)
        with pytest.raises(WrongResult):
            edge.customer.check_books(4, 5)


def test_pairs_are_reserved_and_committed(tmp_path: Path) -> None:
    """The id comes out of the answer; the books are looked at inside."""
    try:
        find("wrk")
    except MissingPrograms as missing:
        pytest.skip(str(missing))
    with running_edge_stack(tmp_path) as edge:
        assert drive_pairs(edge, 1).requests > 100
        edge.customer.reset()
        report = wrk.drive(edge.port, usage_request(edge.customer), 1, 1)
        edge.customer.check_books(report.requests, report.requests + 1)


def test_rows_that_are_copied_are_those_of_usage_events(tmp_path: Path) -> None:
    """All columns, in their order."""
    with running_postgres(tmp_path) as postgres:
        assert asyncio.run(time_copy(postgres.url_owner, Catalogue(), 10)) > 0


def test_months_of_subscribers_pass(tmp_path: Path) -> None:
    """A few, then more of them; each time all are in the next month with its credit alone, and the ledger proves."""
    with running_valkey(tmp_path) as (redis_url, redis), running_postgres(tmp_path) as postgres:
        renewals = Renewals(postgres, redis_url, redis, tmp_path)
        assert renewals.renew_all(3).rate_per_second > 0
        assert renewals.renew_all(5).rate_per_second > 0
        asyncio.run(check_ledger(postgres.url_owner, redis_url, 0))
        assert asyncio.run(time_plain_sql(postgres.url_owner, 10)) > 0


@pytest.mark.slow
def test_webhooks_are_delivered_and_judged(tmp_path: Path) -> None:
    """With bad endpoints and without, from a backlog and at a pace, by the jobs and by the loop of one's own."""
    with running_webhooks(tmp_path, endpoints=20) as webhooks:
        assert webhooks.deliver(100, badly=False).rate_per_second > 0
        assert webhooks.deliver(100, badly=True).rate_per_second > 0
        assert webhooks.deliver_plainly(100).rate_per_second > 0
        lags = webhooks.lags_ms(1, 50, badly=True)
        assert len(lags) == 22 or len(lags) == 23
        assert 0 < percentile(lags, 50) <= percentile(lags, 99)


def received(name: str, sequence: int, *, is_genuine: bool = True) -> Received:
    """A delivery to one customer's endpoint."""
    return Received("/tenants/1", name, "user_1", sequence, "credits.granted", 2, 1, 200, is_genuine)


@pytest.mark.parametrize(
    "wrong",
    [
        [received("a", 1)],
        [received("a", 1), received("a", 2)],
        [received("a", 2), received("b", 1)],
        [received("a", 1), received("b", 2), received("b", 2)],
        [received("a", 1), received("b", 2, is_genuine=False)],
    ],
    ids=["lost", "one id", "order", "twice", "forged"],
)
def test_deliveries_that_are_wrong_are_no_result(wrong: list[Received]) -> None:
    """What is lost, sent twice, out of order or not signed."""
    check([received("a", 1), received("b", 2)], 2)
    with pytest.raises(WrongResult):
        check(wrong, 2)
