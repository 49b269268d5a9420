"""What can be seen on the machine on which the command runs: settings, spool, disks."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from app.doctor.patient import Check, Patient, Verdict, ok, problem, warning
from app.io.migrate import ROLES
from app.settings import CoreSettings, FlusherSettings, JobsSettings, SettingsError, read

KINDS = (CoreSettings, FlusherSettings, JobsSettings)
GIBIBYTE = 2**30
LEAST_FREE_PERCENT, PROBLEM_FREE_PERCENT = 10, 3
SPOOL_SUFFIX, DAMAGED_SUFFIX = ".spool", ".damaged"
"""As edge/spool_files.py names its files; app does not import edge."""
EMPTY_SPOOL_BYTES = 16
"""A file that has no record yet is shorter."""


def look_at_settings(patient: Patient) -> Verdict:
    """The variables that are set here can be used."""
    wrong: list[str] = []
    for kind in KINDS:
        try:
            read(kind, patient.environ)
        except SettingsError as error:
            wrong += [line for line in str(error).splitlines() if not line.endswith(" is not set")]
    for role in ROLES:
        name = f"{role.removeprefix('quotastack_').upper()}_DATABASE_URL"
        if (url := patient.environ.get(name)) and unquote(urlsplit(url).username or "") != role:
            wrong.append(f"{name} does not log in as {role}")
    if wrong:
        return problem("; ".join(dict.fromkeys(wrong)), "Repair them; docs/configuration.md says what each may be.")
    return ok("what is set can be used")


def look_at_spool(patient: Patient) -> Verdict:
    """Nothing that was acknowledged waits on this machine's disk."""
    directory = Path(patient.expected.spool_directory)
    if not directory.is_dir():
        return ok(f"no {directory} on this machine")
    if damaged := sorted(path.name for path in directory.glob(f"*{DAMAGED_SUFFIX}")):
        remedy = "It holds acknowledged usage that cannot be read: keep it, and see docs/credit-protocol.md, The spool."
        return problem(f"{len(damaged)} damaged files, first {damaged[0]}", remedy)
    files = [path.stat().st_size for path in directory.glob(f"*{SPOOL_SUFFIX}")]
    if any(size > EMPTY_SPOOL_BYTES for size in files):
        seen = f"{len(files)} files with {sum(files):,} bytes wait to be taken in"
        return warning(seen, "See that an edge runs on this directory, and that it reaches Redis and core.")
    return ok("nothing waits")


def look_at_disk(patient: Patient) -> Verdict:
    """There is space where this machine keeps data."""
    places = {Path(patient.expected.spool_directory), Path(patient.expected.data_directory)}
    worst: tuple[float, str] | None = None
    for place in sorted(path for path in places if path.is_dir()):
        usage = shutil.disk_usage(place)
        percent = 100 * usage.free / usage.total
        seen = f"{usage.free / GIBIBYTE:.1f} GiB free below {place} ({percent:.0f} %)"
        if worst is None or percent < worst[0]:
            worst = percent, seen
    if worst is None:
        return ok("no data on this machine")
    percent, seen = worst
    remedy = "Make room: without it the stores refuse writes, and edges cannot spool."
    if percent < PROBLEM_FREE_PERCENT:
        return problem(seen, remedy)
    return warning(seen, remedy) if percent < LEAST_FREE_PERCENT else ok(seen)


def _in_thread(look: Callable[[Patient], Verdict]) -> Callable[[Patient], Awaitable[Verdict]]:
    """A disk may not answer either."""
    return partial(asyncio.to_thread, look)


CHECKS = (
    Check("settings", _in_thread(look_at_settings)),
    Check("spool", _in_thread(look_at_spool)),
    Check("disk", _in_thread(look_at_disk)),
)
