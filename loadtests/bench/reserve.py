"""Reservations: pairs of an opening and its commit, beside single usage events at the same edge."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadtests import wrk
from loadtests.accepting import KEY_PREFIX
from loadtests.bench.usage import CONNECTIONS, edge_side, usage_request
from loadtests.catalogue import COST_MICRO, FEATURE
from loadtests.customer import END_USER_ID, Customer
from loadtests.measuring import Comparison, Goal, Run, Side, WrongResult
from loadtests.settling import settled
from loadtests.stack import EdgeStack, running_edge_stack

PROGRAMS = ("wrk",)
RESERVED_UNITS, USED_UNITS = 2, 1
"""The commit gives some of it back."""
REQUESTS_EACH = 2
"""Of a pair."""


@contextmanager
def comparisons(directory: Path) -> Iterator[list[Comparison]]:
    """The pairs counted as one piece of work each, and as the two requests that they are."""
    with running_edge_stack(directory) as edge:
        yield [
            Comparison(
                f"reserve and commit by {unit}, c={CONNECTIONS}",
                unit,
                f"edge, one worker, POST /v1/reservations and its commit, counted in {unit}",
                "the same edge, POST /v1/usage",
                f"another idempotency key each time, half of what is reserved is committed; a latency is that of one "
                f"request; one customer, Valkey with {edge.durability}, nothing flushed meanwhile",
                pair_side(edge, unit),
                edge_side(edge, usage_request(edge.customer), CONNECTIONS),
                goal,
            )
            for unit, goal in (("pairs", Goal(least_rate_ratio=0.4)), ("requests", Goal()))
        ]


def opening_request(customer: Customer) -> str:
    """One reservation."""
    key = KEY_PREFIX + wrk.UNIQUE
    what = f'"end_user_id":"{END_USER_ID}","feature_key":"{FEATURE}","units":{RESERVED_UNITS}'
    return wrk.http_request("POST", "/v1/reservations", customer.api_key, f'{{{what},"idempotency_key":"{key}"}}')


def commit_request(customer: Customer) -> str:
    """Its end."""
    target = f"/v1/reservations/{wrk.OPENED_ID}/commit"
    return wrk.http_request("POST", target, customer.api_key, f'{{"units":{USED_UNITS}}}')


def drive_pairs(edge: EdgeStack, seconds: int) -> wrk.Report:
    """Open and commit. Raises WrongResult where the books are not right afterwards."""
    opening, commit = opening_request(edge.customer), commit_request(edge.customer)
    report = wrk.drive(edge.port, opening, CONNECTIONS, seconds, follow_up=commit)
    _check_books(edge, report.requests, report.requests + CONNECTIONS)
    return report


def pair_side(edge: EdgeStack, unit: str) -> Side:
    """Pairs, and a look at the books."""

    def run(seconds: int) -> Run:
        edge.customer.reset()
        return drive_pairs(edge, seconds).run(1 / REQUESTS_EACH if unit == "pairs" else 1)

    return run


def _check_books(edge: EdgeStack, least: int, most: int) -> None:
    """So many entries are in the stream; what was taken is what was used and what is still held. Raises WrongResult."""

    def look() -> tuple[int, int, int]:
        pipe = edge.redis.pipeline(transaction=True)
        pipe.xlen(edge.customer.stream)
        pipe.hmget(edge.customer.account, "accepted", "open")
        entries, (accepted_micro, still_open) = pipe.execute()
        return entries, int(accepted_micro), int(still_open)

    entries, accepted_micro, still_open = settled(look)
    if not least <= entries <= most or still_open > 2 * CONNECTIONS:
        raise WrongResult(f"{entries} entries are in the stream, not {least} to {most}, and {still_open} are open")
    commits = (entries - still_open) // REQUESTS_EACH
    expected_micro = (commits * USED_UNITS + still_open * RESERVED_UNITS) * COST_MICRO
    if accepted_micro != expected_micro:
        raise WrongResult(f"{accepted_micro} micro-credits were taken, not {expected_micro}: {commits} commits")
