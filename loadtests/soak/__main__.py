"""`python -m loadtests.soak [--seconds 600] [--users 20]`; docs/load-tests.md explains it."""

# rich-click types its decorators in part only:
# pyright: reportUnknownMemberType=false

import asyncio
import secrets
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path

import msgspec
import rich_click as click
from rich.console import Console

from app.io.process import configure_logging, stop_as_interrupted
from app.wire.redaction import Redactor
from loadtests.__main__ import FAILED, NARROWEST_TABLE, RESULTS, VAR, fail, tell
from loadtests.load import outcome
from loadtests.load.__main__ import MAX_KILLS, MAX_RATE, SEEDS, TROUBLE
from loadtests.load.groups import leaves
from loadtests.load.locusting import require_locust
from loadtests.load.outcome import OWN, Outcome, Settings
from loadtests.load.plan import MAX_SECONDS, MAX_USERS
from loadtests.load.product import Product
from loadtests.load.running import own_subject, run_load
from loadtests.probes import PROBES
from loadtests.probes.probe import Probe
from loadtests.programs import ROOT, require
from loadtests.soak import page
from loadtests.soak.page import Soak
from loadtests.soak.sampling import Sample, sample
from loadtests.soak.verdict import TooShort, judge

LEAST_SECONDS = 120
CALIBRATION_SECONDS = 15
SHARE = 0.5
"""Of what the machine takes."""
WINDOW_SECONDS = 60
"""For which the product remembers keys and posted entries: Valkey's data is not flat before it is over."""
LEFT_OUT = frozenset({"void"})
"""Probes that need a longer window: they send usage of yesterday."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seconds", default=600, show_default=True, type=click.IntRange(LEAST_SECONDS, MAX_SECONDS))
@click.option("--users", default=20, show_default=True, type=click.IntRange(1, MAX_USERS), help="At once.")
@click.option("--kills", default=0, show_default=True, type=click.IntRange(0, MAX_KILLS), help="Over the run.")
@click.option("--seed", type=click.IntRange(0, SEEDS - 1), help="Of all chance; another one each time unless given.")
def main(seconds: int, users: int, kills: int, seed: int | None) -> None:
    """Load a product of its own with half of what the machine takes, and watch what its processes hold.

    With kills, a process ends without warning now and then, and another takes its place: then each is judged by its
    longest life. Everything is written into loadtests/results/. The exit status is 1 when an answer was wrong, the
    books differ, an account drifted or a process grew.
    """
    stop_as_interrupted()  # servers and directories go in good order
    configure_logging("warning", "loadtests", Redactor())
    settings = Settings(
        "mixed", "steady", users, seconds, None, secrets.randbelow(SEEDS) if seed is None else seed, OWN
    )
    VAR.mkdir(mode=0o700, exist_ok=True)
    try:
        require_locust()
        require(["ps"])
        with tempfile.TemporaryDirectory(prefix="soak-", dir=VAR) as name:
            done = asyncio.run(soak(settings, kills, Path(name)))
    except* (TooShort, *TROUBLE) as errors:
        fail("\n".join(str(error) for error in leaves(errors)), FAILED)
    show(done)
    sys.exit(0 if done.has_passed else FAILED)


async def soak(settings: Settings, kills: int, directory: Path) -> Soak:
    """Find out how fast it can be, then load it with a share of that. Raises TooShort and what a load test raises."""
    window = str(WINDOW_SECONDS)
    async with own_subject(directory, IDEMPOTENCY_WINDOW_SECONDS=window, TRIM_LAG_SECONDS=window) as subject:
        product = subject.product
        assert product is not None  # noqa: S101 - it is our own
        fast = msgspec.structs.replace(settings, seconds=CALIBRATION_SECONDS, rate=float(MAX_RATE))
        tell(f"as fast as it goes, for {CALIBRATION_SECONDS} seconds")
        found = await run_load(subject, fast, 0, directory, ())
        rate = found.actions / found.seconds / settings.users * SHARE
        tell(f"{_requests_a_second(found):,.0f} requests a second; now half of that, for {settings.seconds} seconds")
        calm = msgspec.structs.replace(settings, rate=rate)
        done, samples = await watch(product, run_load(subject, calm, kills, directory, _probes()), settings.seconds)
        drift = await product.look_at_drift()
    verdict = judge(samples, are_killed=kills > 0)
    return Soak(done, _requests_a_second(found), WINDOW_SECONDS, kills, drift, verdict, samples)


async def watch(product: Product, load: Coroutine[None, None, Outcome], seconds: float) -> tuple[Outcome, list[Sample]]:
    """The load, and what the processes hold meanwhile."""
    async with asyncio.TaskGroup() as group:
        loading = group.create_task(load)
        sampling = group.create_task(sample(lambda: product.described.pids, product.described.redis_url, seconds))
    return loading.result(), sampling.result()


def _probes() -> list[Probe]:
    return [probe for name, probe in PROBES.items() if name not in LEFT_OUT]


def show(done: Soak) -> None:
    """Print it, and write it down."""
    console = Console(width=max(Console().width, NARROWEST_TABLE))
    console.print(*outcome.tables(done.outcome), page.table(done), sep="\n")
    for line in [*outcome.failure_lines(done.outcome), *page.changed_lines(done.verdict)]:
        tell(line)
    for path in page.write(done, RESULTS):
        tell(f"written: {path.relative_to(ROOT)}")


def _requests_a_second(done: Outcome) -> float:
    return sum(figures.requests for figures in done.routes) / done.seconds


if __name__ == "__main__":
    main()
