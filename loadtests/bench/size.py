"""What is kept, and what it costs: bytes of an account, of a remembered key, of an event in the log; processor time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.wire import keys, scripts
from app.wire.agreement import Agreement
from loadtests import wrk
from loadtests.accepting import KEY_PREFIX, accept_call
from loadtests.bench.check import TARGET
from loadtests.bench.many import PIPELINE_ACCOUNTS, end_user_id, load_accounts
from loadtests.bench.reserve import REQUESTS_EACH, drive_pairs
from loadtests.bench.usage import CONNECTIONS, usage_request
from loadtests.measuring import Measure, WrongResult
from loadtests.processes import cpu_seconds
from loadtests.settling import settled
from loadtests.stack import EdgeStack, running_edge_stack

PROGRAMS = ("wrk",)
ITEMS = 400_000
CPU_RUN_SECONDS = 5
MILLION = 1_000_000


def measures(directory: Path) -> list[Measure]:
    """Sizes in Valkey's memory and log, then the processor time of a run."""
    with running_edge_stack(directory) as edge:
        edge.redis.script_load(scripts.ACCEPT.text)
        sizes = [_account_size(edge), *_event_sizes(edge)]
        edge.customer.reset()
        costs = [*_usage_cost(edge), *_check_cost(edge)]
        edge.customer.reset()
        return [*sizes, *costs, *_pair_cost(edge)]


def _account_size(edge: EdgeStack) -> Measure:
    before = _memory(edge.redis)
    load_accounts(edge, ITEMS)
    used = (_memory(edge.redis) - before) / ITEMS
    what = f"Valkey's memory for a loaded account with an end_user_id of {len(end_user_id(0))} characters, of {ITEMS:,}"
    return Measure("account", "bytes of memory", used, what, 320)


def _event_sizes(edge: EdgeStack) -> list[Measure]:
    """One event of every account that was loaded, each with a key of its own."""
    catalogue, redis = edge.customer.catalogue, edge.redis
    memory, log = _memory(redis), _log_size(redis)
    for start in range(0, ITEMS, PIPELINE_ACCOUNTS):
        pipe = redis.pipeline(transaction=False)
        for number in range(start, min(ITEMS, start + PIPELINE_ACCOUNTS)):
            pipe.evalsha(*accept_call(catalogue, end_user_id(number), f"{KEY_PREFIX}{number:012}"))
        refused = [answer for answer in pipe.execute() if answer[0] != b"ok"]
        if refused:
            raise WrongResult(f"the script refused {len(refused)} events, the first with {refused[0]}")
    written = (_log_size(redis) - log) / ITEMS
    with_streams = _memory(redis)
    redis.delete(*(keys.stream(partition) for partition in range(Agreement().partitions)))
    without = _memory(redis)
    key = f"an idempotency key of {len(KEY_PREFIX) + 12} characters"
    return [
        Measure("remembered key", "bytes of memory", (without - memory) / ITEMS, f"Valkey's memory for {key}", 120),
        Measure("event, waiting", "bytes of memory", (with_streams - without) / ITEMS, f"in the stream, with {key}"),
        Measure("event, logged", "bytes of log", written, f"in Valkey's append-only log, with {key}", 400),
    ]


def _usage_cost(edge: EdgeStack) -> list[Measure]:
    request, what = usage_request(edge.customer), "POST /v1/usage, fsynced before each answer"
    return _cost("usage", edge, what, lambda: _answered(edge, request))


def _check_cost(edge: EdgeStack) -> list[Measure]:
    request = wrk.http_request("GET", TARGET, edge.customer.api_key)
    return _cost("checks", edge, "GET /v1/entitlements/check", lambda: _answered(edge, request))


def _pair_cost(edge: EdgeStack) -> list[Measure]:
    what = "POST /v1/reservations and its commit, both fsynced before each answer"
    return _cost("pairs", edge, what, lambda: drive_pairs(edge, CPU_RUN_SECONDS).requests // REQUESTS_EACH)


def _answered(edge: EdgeStack, request: str) -> int:
    return wrk.drive(edge.port, request, CONNECTIONS, CPU_RUN_SECONDS).requests


def _cost(name: str, edge: EdgeStack, what: str, drive: Callable[[], int]) -> list[Measure]:
    """What the processes spend on what `drive` says that was done."""
    valkey = int(edge.redis.info("server")["process_id"])
    before = cpu_seconds(edge.pid), cpu_seconds(valkey)
    done = drive()
    spent = cpu_seconds(edge.pid) - before[0], cpu_seconds(valkey) - before[1]
    return [
        Measure(f"a million {name}, {side}", "CPU-seconds", seconds * MILLION / done, f"{what}, c={CONNECTIONS}")
        for side, seconds in zip(("edge", "Valkey"), spent, strict=True)
    ]


def _memory(redis: Any) -> int:  # noqa: ANN401 - redis-py types little
    """What the data takes, without what clients and the log hold at the moment, once that stands still."""

    def look() -> int:
        info = redis.info("memory")
        return info["used_memory"] - info["mem_clients_normal"] - info["mem_aof_buffer"]

    return settled(look)


def _log_size(redis: Any) -> int:  # noqa: ANN401 - redis-py types little
    return settled(lambda: redis.info("persistence")["aof_current_size"])
