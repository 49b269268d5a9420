"""The probes beside each other on the whole product, and a short run of Locust; nothing of it is in memory here."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from loadtests.load import tenant
from loadtests.load.client import open_api
from loadtests.load.outcome import OWN, Settings
from loadtests.load.running import Subject, own_subject, run_load
from loadtests.load.tenant import make_catalogue
from loadtests.probes import PROBES
from loadtests.probes.probe import Target
from loadtests.probes.running import run_probes

SECONDS, KILLS, USERS = 4, 4, 5
MAKE_SECONDS = 100
SETTINGS = Settings("mixed", "ramp", USERS, SECONDS, None, 1, OWN)

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def subject(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Subject]:
    """A product of its own, as `make load` starts it, with its supervisor."""
    async with own_subject(tmp_path_factory.mktemp("product")) as running:
        yield running


async def test_every_probe_holds_on_the_real_product(subject: Subject) -> None:
    """Race and replay at full size, all of them at once, while processes are killed; then the ledger is proved."""
    assert subject.product is not None
    async with open_api(subject.core_url, subject.key) as core, open_api(subject.edge_url, subject.key) as edge:
        catalogue = await make_catalogue(core)
        open_edge = partial(open_api, subject.edge_url, subject.key)
        target = Target(
            core,
            edge,
            open_edge,
            catalogue.run,
            catalogue.probed,
            SECONDS,
            1,
            kills=KILLS,
            processes=subject.product,
        )
        results = await run_probes(PROBES.values(), target)
    assert [(result.name, result.has_passed) for result in results] == [(name, True) for name in PROBES], results
    assert await subject.product.verify() is None


@pytest.fixture(scope="module")
def locust(repository: Path) -> None:
    """Locust's environment, made where it is not there, as `make load` makes it."""
    target = ".venv-load/requirements-load.installed"
    subprocess.run(["make", target], cwd=repository, check=True, timeout=MAKE_SECONDS, capture_output=True)  # noqa: S607


@pytest.mark.load
@pytest.mark.usefixtures("locust")
async def test_short_run_passes(subject: Subject, tmp_path: Path) -> None:
    """Everything at once, with kills: every answer is right, every probe holds, and the books are right."""
    outcome = await run_load(subject, SETTINGS, KILLS, tmp_path)
    assert outcome.has_passed, (outcome.failures, outcome.probes, outcome.audit)
    requests = {(one.method, one.route): one.requests for one in outcome.routes}
    assert requests["POST", "/v1/usage"] > 0
    assert requests["POST", "/v1/usage/batch"] > 0
    assert requests["GET", "/v1/entitlements/check"] > 0
    assert outcome.audit.acknowledged > 0


@pytest.mark.load
@pytest.mark.usefixtures("locust")
async def test_balance_that_is_not_what_it_has_to_be_fails_the_run(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Customers are granted one credit more than the scenario knows of: Locust counts it as failures."""
    monkeypatch.setattr(tenant, "MONTHLY_CREDITS", tenant.MONTHLY_CREDITS + 1)
    running = run_load(subject, SETTINGS, 0, tmp_path)
    outcome = await asyncio.wait_for(running, MAKE_SECONDS)
    assert not outcome.has_passed
    assert any("balance is" in failure.what for failure in outcome.failures), outcome.failures
    assert outcome.audit.is_right
