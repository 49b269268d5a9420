"""A run from its first customer to its books: the scenario in Locust, the probes beside it, then the comparison."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec

from loadtests.load.auditing import Audit, find_differences
from loadtests.load.client import PASSING_CODES, HttpApi, open_api
from loadtests.load.locusting import LocustReport, run_locust
from loadtests.load.outcome import Outcome, Settings
from loadtests.load.plan import BIG_CUSTOMERS, PRICES_MICRO, PROBED, SHARED_CUSTOMERS, Plan
from loadtests.load.product import Product, running_product
from loadtests.load.tenant import Catalogue, create_tenant, make_catalogue, subscribe_customers
from loadtests.machine import Machine, describe
from loadtests.probes import PROBES
from loadtests.probes.probe import Probe, Target
from loadtests.probes.running import ProbeResult, run_probes

PRODUCT_PROGRAMS = ("Python", "Valkey", "Postgres")
"""Of those whose versions the machine tells."""


@dataclass(frozen=True)
class Subject:
    """What is put under load."""

    core_url: str
    edge_url: str
    key: str
    product: Product | None = None
    """Where it is our own."""


@asynccontextmanager
async def own_subject(directory: Path, **settings: str) -> AsyncIterator[Subject]:
    """A product for this run alone, with a tenant. Raises ServerFailed, Wrong or NoAnswer."""
    async with running_product(directory, **settings) as product:
        described = product.described
        async with open_api(described.core_url, described.admin_token) as operator:
            key = await create_tenant(operator)
        yield Subject(described.core_url, described.edge_url, key, product)


async def run_load(
    subject: Subject, settings: Settings, kills: int, directory: Path, probes: Iterable[Probe] = PROBES.values()
) -> Outcome:
    """Everything, once. Raises LocustFailed, ServerFailed, Wrong or NoAnswer."""
    async with open_api(subject.core_url, subject.key) as core, open_api(subject.edge_url, subject.key) as edge:
        catalogue = await make_catalogue(core)
        plan = _plan(subject, settings, catalogue, directory)
        await subscribe_customers(core, catalogue, _customers(plan))
        target = Target(
            core,
            edge,
            partial(open_api, subject.edge_url, subject.key),
            catalogue.run,
            catalogue.probed,
            settings.seconds,
            settings.seed,
        )
        if subject.product is not None:
            processes = subject.product if kills else None
            target = replace(target, kills=kills, processes=processes, why_no_processes="no kills were asked for")
        plan = replace(plan, expects_interruptions=target.processes is not None)
        report, results = await _play(plan, target, directory, probes)
        audit = await _audit(subject, core, edge, report, plan)
    machine = _machine(report.version)
    found = (report.seconds, report.routes, report.failures, results, audit, report.actions)
    return Outcome(machine, settings, *found)


async def _play(
    plan: Plan, target: Target, directory: Path, probes: Iterable[Probe]
) -> tuple[LocustReport, list[ProbeResult]]:
    """Locust and the probes side by side."""
    async with asyncio.TaskGroup() as group:
        load = group.create_task(run_locust(plan, directory))
        results = group.create_task(run_probes(probes, target))
    return load.result(), results.result()


async def _audit(subject: Subject, core: HttpApi, edge: HttpApi, report: LocustReport, plan: Plan) -> Audit:
    book = report.read_book()
    asked_again = len(book.unanswered)
    keys = [plan.feature(name) for name in PRICES_MICRO if name != PROBED]
    different = await find_differences(core, edge, book, keys)
    verified = None
    if subject.product is not None:
        findings = await subject.product.verify()
        verified = findings is None
        different += [findings] if findings else []
    return Audit(book.acknowledged, len({user for user, _ in book.totals}), asked_again, different, verified)


def _plan(subject: Subject, settings: Settings, catalogue: Catalogue, directory: Path) -> Plan:
    return Plan(
        run=catalogue.run,
        scenario=settings.scenario,
        shape=settings.shape,
        users=settings.users,
        seconds=settings.seconds,
        rate=settings.rate,
        seed=settings.seed,
        core_url=subject.core_url,
        edge_url=subject.edge_url,
        key=subject.key,
        variant_id=catalogue.variant_id,
        expects_interruptions=False,
        passing_codes=sorted(PASSING_CODES),
        report_path=str(directory / "locust.json"),
    )


def _customers(plan: Plan) -> list[str]:
    """Everybody whom Locust's users share."""
    shared = [plan.shared_customer(number) for number in range(SHARED_CUSTOMERS)]
    return shared + [plan.big_customer(number) for number in range(BIG_CUSTOMERS)]


def _machine(locust_version: str) -> Machine:
    """What it ran on, with the versions of what took part."""
    machine = describe()
    versions = {name: version for name, version in machine.versions.items() if name in PRODUCT_PROGRAMS}
    return msgspec.structs.replace(machine, versions=versions | {"Locust": locust_version})
