"""`python -m loadtests.load SCENARIO [--seconds 60] [--users 50]`; docs/load-tests.md explains it."""

# rich-click types its decorators in part only:
# pyright: reportUnknownMemberType=false

import asyncio
import secrets
import sys
import tempfile
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

import rich_click as click
from rich.console import Console

from app.embedded.errors import EmbeddedError
from app.io.process import configure_logging, stop_as_interrupted
from app.wire.redaction import Redactor
from loadtests.__main__ import FAILED, NARROWEST_TABLE, RESULTS, VAR, fail, tell
from loadtests.load import outcome
from loadtests.load.addresses import AddressRefused, loopback_url
from loadtests.load.client import NoAnswer
from loadtests.load.groups import leaves
from loadtests.load.judging import Wrong
from loadtests.load.locusting import LocustFailed, require_locust
from loadtests.load.outcome import OWN, RUNNING, Outcome, Settings
from loadtests.load.plan import MAX_SECONDS, MAX_USERS
from loadtests.load.running import Subject, own_subject, run_load
from loadtests.load.stages import STAGES
from loadtests.programs import ROOT, MissingPrograms, require
from loadtests.scenarios import SCENARIOS
from loadtests.servers import ServerFailed

KILLS = 50
MAX_KILLS = 1_000
SEEDS = 2**31
MAX_RATE = 1_000
TROUBLE = (EmbeddedError, LocustFailed, MissingPrograms, NoAnswer, ServerFailed, Wrong)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("scenario", type=click.Choice(list(SCENARIOS)))
@click.option("--seconds", default=60, show_default=True, type=click.IntRange(1, MAX_SECONDS), help="How long.")
@click.option("--users", default=50, show_default=True, type=click.IntRange(1, MAX_USERS), help="At most at once.")
@click.option("--shape", default="steady", show_default=True, type=click.Choice(list(STAGES)), help="When how many.")
@click.option("--rate", type=click.FloatRange(0, MAX_RATE, min_open=True), help="Actions a second and user.")
@click.option("--seed", type=click.IntRange(0, SEEDS - 1), help="Of all chance; another one each time unless given.")
@click.option("--kills", default=KILLS, show_default=True, type=click.IntRange(0, MAX_KILLS), help="Over the run.")
@click.option("--base-url", metavar="URL", help="Core of a product that runs on this machine, in place of an own one.")
@click.option("--edge-url", metavar="URL", help="Its edge; the base URL unless given.")
@click.option("--key", help="An API key of the environment to load: of a sandbox, for what is made there stays.")
def main(base_url: str | None, edge_url: str | None, key: str | None, kills: int, **asked: object) -> None:
    """Run SCENARIO in Locust and the probes beside it, check the books, and write it all into loadtests/results/.

    Without --base-url everything runs on a product of its own, whose data is thrown away. The exit status is 1 when an
    answer was wrong, a probe failed or the books differ.
    """
    stop_as_interrupted()  # servers and directories go in good order
    configure_logging("warning", "loadtests", Redactor())
    seed = asked.pop("seed")
    settings = Settings(
        **asked,  # type: ignore[arg-type] # click has seen to it
        seed=secrets.randbelow(SEEDS) if seed is None else seed,  # type: ignore[arg-type]
        target=OWN if base_url is None else RUNNING,
    )
    try:
        subject = running_subject(base_url, edge_url, key)
        require_locust()
        require(["ps"])
        done = run(subject, settings, kills)
    except* (AddressRefused, *TROUBLE) as errors:
        done = "\n".join(str(error) for error in leaves(errors))
    if isinstance(done, str):
        fail(done, FAILED)
    show(done)
    sys.exit(0 if done.has_passed else FAILED)


def run(subject: Subject | None, settings: Settings, kills: int) -> Outcome:
    """One run, on a directory under `var/` that is thrown away; on a product of its own where none is given."""
    VAR.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="load-", dir=VAR) as name:
        directory = Path(name)
        return asyncio.run(
            _run(nullcontext(subject) if subject else own_subject(directory), settings, kills, directory)
        )


async def _run(
    opened: AbstractAsyncContextManager[Subject], settings: Settings, kills: int, directory: Path
) -> Outcome:
    async with opened as subject:
        tell(f"{settings.scenario}, {settings.shape}, {settings.users} users for {settings.seconds} seconds")
        return await run_load(subject, settings, kills, directory)


def show(done: Outcome) -> None:
    """Print it, and write it down."""
    console = Console(width=max(Console().width, NARROWEST_TABLE))
    console.print(*outcome.tables(done), sep="\n")
    for line in outcome.failure_lines(done):
        tell(line)
    for path in outcome.write(done, RESULTS):
        tell(f"written: {path.relative_to(ROOT)}")


def running_subject(base_url: str | None, edge_url: str | None, key: str | None) -> Subject | None:
    """The product that runs already, where one is named. Raises AddressRefused."""
    if base_url is None:
        if edge_url or key:
            raise AddressRefused("--edge-url and --key go with --base-url: name the product that they belong to.")
        return None
    if not key:
        raise AddressRefused("--base-url needs --key, an API key of the environment to load.")
    return Subject(loopback_url(base_url), loopback_url(edge_url or base_url), key)


if __name__ == "__main__":
    main()
