"""Checks with very many accounts loaded, beside the same with few."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.wire import keys
from app.wire.agreement import Agreement
from loadtests.catalogue import FEATURE
from loadtests.measuring import Comparison, Goal, Run, Side
from loadtests.stack import EdgeStack, running_edge_stack
from loadtests.wrk import UNIQUE, drive, http_request

PROGRAMS = ("wrk",)
MANY, FEW = 1_000_000, 1_000
CONNECTIONS = 32
PIPELINE_ACCOUNTS = 10_000


@contextmanager
def comparisons(directory: Path) -> Iterator[list[Comparison]]:
    """An edge each, with a Valkey each; the same thousand customers are asked for, and then all of them in turn."""
    with running_edge_stack(directory / "many") as many, running_edge_stack(directory / "few") as few:
        load_accounts(many, MANY)
        load_accounts(few, FEW)
        yield [
            Comparison(
                f"check, {MANY:,} accounts, {asked:,} asked for",
                "requests",
                f"edge, one worker, {MANY:,} accounts loaded",
                f"the same with {FEW:,} accounts, {FEW:,} asked for",
                f"wrk -t1 -c{CONNECTIONS}, GET /v1/entitlements/check of one customer after the other",
                _side(many, asked),
                _side(few, FEW),
                goal,
            )
            for asked, goal in ((FEW, Goal(least_rate_ratio=0.9)), (MANY, Goal()))
        ]


def load_accounts(edge: EdgeStack, count: int) -> None:
    """Accounts as they are after their grant."""
    catalogue, partitions = edge.customer.catalogue, Agreement().partitions
    figures = catalogue.account_hash()
    for start in range(0, count, PIPELINE_ACCOUNTS):
        pipe = edge.redis.pipeline(transaction=False)
        for number in range(start, min(count, start + PIPELINE_ACCOUNTS)):
            ref = catalogue.ref(end_user_id(number))
            pipe.hset(keys.account(keys.partition_of(ref, partitions), ref), mapping=figures)
        pipe.execute()


def end_user_id(number: int) -> str:
    """As wrk numbers them."""
    return f"user_{number:012}"


def _side(edge: EdgeStack, asked: int) -> Side:
    target = f"/v1/entitlements/check?end_user_id=user_{UNIQUE}&feature_key={FEATURE}"
    request = http_request("GET", target, edge.customer.api_key)

    def run(seconds: int) -> Run:
        return drive(edge.port, request, CONNECTIONS, seconds, asked).run()

    return run
