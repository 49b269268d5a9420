"""Usage: the edge beside redis-benchmark, which runs the very same script without HTTP, key, plan or price."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.wire import scripts
from loadtests import redis_benchmark, wrk
from loadtests.accepting import KEY_PREFIX, accept_call
from loadtests.catalogue import FEATURE
from loadtests.customer import END_USER_ID, Customer
from loadtests.measuring import Comparison, Goal, Run, Side
from loadtests.redis_benchmark import RedisBenchmark
from loadtests.stack import EdgeStack, running_edge_stack

PROGRAMS = ("wrk", "redis-benchmark")
CONNECTIONS = 50
BATCH_CONNECTIONS = 8
BATCH_EVENTS = 100


@contextmanager
def comparisons(directory: Path) -> Iterator[list[Comparison]]:
    """Single events over many connections, and batches over a few."""
    with running_edge_stack(directory) as edge:
        edge.redis.script_load(scripts.ACCEPT.text)
        yield [_single_events(edge), _batches(edge)]


def _single_events(edge: EdgeStack) -> Comparison:
    command = accept_command(edge.customer)
    return Comparison(
        f"usage, c={CONNECTIONS}",
        "events",
        "edge, one worker, POST /v1/usage",
        "redis-benchmark, the same script alone",
        f"another idempotency key each time; {_stated(edge)}",
        edge_side(edge, usage_request(edge.customer), CONNECTIONS),
        _script_side(edge.customer, RedisBenchmark(edge.socket_path, command, CONNECTIONS)),
        Goal(least_rate_ratio=0.4),
    )


def _batches(edge: EdgeStack) -> Comparison:
    command = accept_command(edge.customer)
    return Comparison(
        f"usage, batches of {BATCH_EVENTS}, c={BATCH_CONNECTIONS}",
        "events",
        "edge, one worker, POST /v1/usage/batch",
        f"redis-benchmark -P {BATCH_EVENTS}, the same script alone",
        f"another idempotency key for each event; {_stated(edge)}",
        edge_side(edge, batch_request(edge.customer), BATCH_CONNECTIONS, BATCH_EVENTS),
        _script_side(edge.customer, RedisBenchmark(edge.socket_path, command, BATCH_CONNECTIONS, BATCH_EVENTS)),
        Goal(least_rate_ratio=0.3),
    )


def _stated(edge: EdgeStack) -> str:
    return f"one customer, Valkey with {edge.durability} on both sides, nothing flushed meanwhile"


def usage_request(customer: Customer) -> str:
    """One event."""
    return wrk.http_request("POST", "/v1/usage", customer.api_key, usage_event())


def batch_request(customer: Customer) -> str:
    """Many."""
    body = '{"events":[' + ",".join([usage_event()] * BATCH_EVENTS) + "]}"
    return wrk.http_request("POST", "/v1/usage/batch", customer.api_key, body)


def usage_event() -> str:
    """One unit, with another key each time it is sent."""
    key = KEY_PREFIX + wrk.UNIQUE
    return f'{{"end_user_id":"{END_USER_ID}","feature_key":"{FEATURE}","units":1,"idempotency_key":"{key}"}}'


def accept_command(customer: Customer) -> list[bytes]:
    """The call of the script that the edge makes for such an event, as arguments of a program.

    The key of what was seen is another one each time, so the script does all of its work. An argument of a program
    cannot hold a zero byte: in what the script is given as bytes, and only stores, zeros are replaced one by one.
    """
    seen_key = b"{%d}:s:bench_key_%b" % (customer.partition, redis_benchmark.UNIQUE)
    call = accept_call(customer.catalogue, END_USER_ID, KEY_PREFIX + wrk.UNIQUE, seen_key)
    parts = (part if isinstance(part, bytes) else str(part).encode() for part in call)
    return [b"EVALSHA", *(part.replace(b"\0", b"0") for part in parts)]


def edge_side(edge: EdgeStack, request: str, connections: int, events_each: int = 1) -> Side:
    """Send the request to the edge, and look at the books."""

    def run(seconds: int) -> Run:
        edge.customer.reset()
        report = wrk.drive(edge.port, request, connections, seconds)
        answered = report.requests * events_each
        edge.customer.check_books(answered, answered + connections * events_each)
        return report.run(events_each)

    return run


def _script_side(customer: Customer, benchmark: RedisBenchmark) -> Side:
    def run(seconds: int) -> Run:
        customer.reset()
        done, count = benchmark.drive(seconds)
        customer.check_books(count - redis_benchmark.likely_repeats(count), count + benchmark.under_way)
        return done

    return run
