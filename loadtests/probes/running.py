"""The probes beside a scenario: each by itself, none stopped by another's failure."""

import asyncio
from collections.abc import Iterable

import msgspec

from loadtests.load.client import NoAnswer
from loadtests.load.groups import leaves
from loadtests.load.judging import Wrong
from loadtests.probes.probe import Probe, ProbeFailed, Target


class ProbeResult(msgspec.Struct, frozen=True):
    """What a probe found; `has_passed` is None where it was left out, and `finding` says why."""

    name: str
    promise: str
    has_passed: bool | None
    finding: str


async def run_probe(probe: Probe, target: Target) -> ProbeResult:
    """One probe, to its end."""
    if probe.needs_processes and target.processes is None:
        return ProbeResult(probe.name, probe.promise, None, target.why_no_processes)
    try:
        finding = await probe.run(target)
    except* (ProbeFailed, Wrong, NoAnswer) as errors:
        finding, has_passed = str(next(leaves(errors))), False
    else:
        has_passed = True
    return ProbeResult(probe.name, probe.promise, has_passed, finding)


async def run_probes(probes: Iterable[Probe], target: Target) -> list[ProbeResult]:
    """All of them at once; their results in order."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run_probe(probe, target)) for probe in probes]
    return [task.result() for task in tasks]
