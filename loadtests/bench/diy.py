"""Usage: the edge beside the service that people build for themselves (`loadtests/diy/`)."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loadtests.bench.usage import CONNECTIONS, edge_side, usage_request
from loadtests.customer import END_USER_ID
from loadtests.measuring import Comparison, Goal, Run, Side, WrongResult
from loadtests.programs import ROOT, output_of
from loadtests.servers import free_port, running, wait_ready
from loadtests.settling import settled
from loadtests.stack import running_edge_stack
from loadtests.stores import log_settings, running_valkey
from loadtests.wrk import drive

PROGRAMS = ("wrk",)
REQUIREMENTS = ROOT / "loadtests" / "diy" / "requirements.txt"
ENVIRONMENT = ROOT / "var" / "bench-diy-environment"
INSTALL_SECONDS = 300
BALANCE = 10**9
"""In whole units."""
BALANCE_KEY = f"balance:{END_USER_ID}"


@contextmanager
def comparisons(directory: Path) -> Iterator[list[Comparison]]:
    """One worker each, the same request, a Valkey each with the same settings."""
    with running_edge_stack(directory / "edge") as edge, running_valkey(directory / "diy") as (url, redis):
        request = usage_request(edge.customer)
        with _running_diy(directory, url, edge.customer.api_key) as port:
            yield [
                Comparison(
                    f"usage beside DIY, c={CONNECTIONS}",
                    "events",
                    "edge, one worker, POST /v1/usage",
                    "FastAPI, redis-py and a script of one's own on uvicorn, one worker",
                    "another idempotency key each time; the service of one's own keeps a balance and no history "
                    f"({', '.join(REQUIREMENTS.read_text().split())}); Valkey with {log_settings(redis)} on both sides",
                    edge_side(edge, request, CONNECTIONS),
                    _diy_side(redis, port, request),
                    Goal(least_rate_ratio=5),
                )
            ]


@contextmanager
def _running_diy(directory: Path, redis_url: str, api_key: str) -> Iterator[int]:
    port = free_port()
    command = [str(_python()), "-m", "uvicorn", "loadtests.diy.service:app", "--app-dir", str(ROOT)]
    command += ["--port", str(port), "--workers", "1", "--no-access-log", "--log-level", "warning"]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "REDIS_URL": redis_url, "API_KEY": api_key}
    with running(command, environment, directory / "diy.log"):
        wait_ready(port, "/openapi.json", directory / "diy.log")
        yield port


def _python() -> Path:
    """The interpreter of an environment that holds what REQUIREMENTS names; made anew where that has changed."""
    python, installed = ENVIRONMENT / "bin" / "python", ENVIRONMENT / REQUIREMENTS.name
    wanted = REQUIREMENTS.read_bytes()
    if not installed.exists() or installed.read_bytes() != wanted:
        output_of([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], INSTALL_SECONDS)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        output_of([*pip, "-r", REQUIREMENTS], INSTALL_SECONDS)
        installed.write_bytes(wanted)
    return python


def _diy_side(redis: Any, port: int, request: str) -> Side:  # noqa: ANN401 - redis-py types little
    def run(seconds: int) -> Run:
        redis.flushall()
        redis.set(BALANCE_KEY, BALANCE)
        report = drive(port, request, CONNECTIONS, seconds)
        remembered, left = settled(lambda: _books(redis))
        if not report.requests <= remembered <= report.requests + CONNECTIONS or left != BALANCE - remembered:
            raise WrongResult(f"{report.requests} answers, {remembered} keys remembered, {left} of {BALANCE} left")
        return report.run()

    return run


def _books(redis: Any) -> tuple[int, int]:  # noqa: ANN401 - redis-py types little
    """(keys that are remembered, what is left of the balance), at one moment."""
    pipe = redis.pipeline(transaction=True)
    pipe.dbsize()
    pipe.get(BALANCE_KEY)
    names, left = pipe.execute()
    return names - 1, int(left)
