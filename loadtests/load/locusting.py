"""Locust as a process of its own environment: started with a plan, waited for, and read."""

import asyncio
import json
import os
import time
from pathlib import Path

import msgspec

from app.embedded.logs import tail
from app.embedded.role import RoleProcess
from loadtests.load.book import Book, read_book
from loadtests.load.plan import Plan
from loadtests.programs import ROOT

ENVIRONMENT = ROOT / ".venv-load"
PYTHON = ENVIRONMENT / "bin" / "python"
LAST_TASKS_SECONDS = 60
"""How long what is under way at the end may take."""
OVERTIME_SECONDS = 120
"""Beyond the plan's seconds, until Locust is ended."""
LOOK_SECONDS = 0.1
STOP_SECONDS = 10
LOG_LINES = 30
"""Of Locust, where it fails."""


class LocustFailed(Exception):
    """Locust is not there, or ended without a report; says what it wrote."""


class RouteFigures(msgspec.Struct, frozen=True):
    """What Locust measured of one route; `method` is `interrupted` for requests that got no answer."""

    method: str
    route: str
    requests: int
    failures: int
    percentiles_ms: list[float]


class Failure(msgspec.Struct, frozen=True):
    """One kind of failure."""

    what: str
    count: int


class LocustReport(msgspec.Struct, frozen=True):
    """What the locustfile wrote."""

    version: str
    seconds: float
    routes: list[RouteFigures]
    failures: list[Failure]
    book: msgspec.Raw
    actions: int

    def read_book(self) -> Book:
        """What was acknowledged."""
        return read_book(json.loads(bytes(self.book)))


def require_locust() -> None:
    """Raise LocustFailed where its environment is not there."""
    if not PYTHON.exists():
        raise LocustFailed("Locust's environment is not there: `make load` makes it, from requirements-load.lock.")


async def run_locust(plan: Plan, directory: Path) -> LocustReport:
    """The plan, to its end. Raises LocustFailed."""
    plan_path = directory / "plan.json"
    plan.write(plan_path)
    command = [str(PYTHON), "-m", "locust", "--locustfile", str(ROOT / "loadtests" / "locustfile.py")]
    command += ["--headless", "--only-summary", "--stop-timeout", str(LAST_TASKS_SECONDS)]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(ROOT), "LOAD_PLAN": str(plan_path)}
    process = RoleProcess(command, environment, directory / "locust.log")
    process.start()
    deadline = time.monotonic() + plan.seconds + OVERTIME_SECONDS
    try:
        while not process.has_ended() and time.monotonic() < deadline:  # noqa: ASYNC110 - a process sets no event
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        process.ask_to_stop()
        process.finish_stop(time.monotonic() + STOP_SECONDS)
    return read_report(Path(plan.report_path), process.log_path)


def read_report(path: Path, log_path: Path) -> LocustReport:
    """What the locustfile wrote. Raises LocustFailed."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=LocustReport)
    except (OSError, msgspec.DecodeError) as error:
        raise LocustFailed(f"Locust ended without a report:\n{tail(log_path, LOG_LINES)}") from error
