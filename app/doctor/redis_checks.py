"""What has to be so in Redis or Valkey: it keeps what was acknowledged, and forgets nothing by itself."""

from typing import Any

from app.doctor.patient import Check, Patient, Verdict, ok, problem, warning
from app.wire import keys

LEAST_REDIS = (7, 0)
"""The oldest version that is supported; Valkey calls itself 7.2 there."""
MOST_MEMORY_PERCENT = 80
MEBIBYTE = 2**20
_POLICY = "noeviction"


async def look_at_version(patient: Patient) -> Verdict:
    """Every server answers, is new enough, and takes writes."""
    shown = set[str]()
    for server in await patient.servers():
        info = await server.info()
        text = str(info["redis_version"])
        name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {text}"
        if tuple(int(part) for part in text.split(".")[:2]) < LEAST_REDIS:
            return problem(name, f"Move to Redis {LEAST_REDIS[0]}.{LEAST_REDIS[1]}, to Valkey, or newer.")
        if info["role"] != "master":
            return problem(f"{name} is a replica", "Set REDIS_URL to the primary.")
        shown.add(name)
    return ok(", ".join(sorted(shown)))


async def look_at_agreement(patient: Patient) -> Verdict:
    """What all processes must share is what the data were made with."""
    ours, theirs = patient.memory.agreement.fingerprint(), await patient.memory.client.get(keys.AGREEMENT)
    if theirs is None:
        return warning(
            "nobody has written it down", "Start the processes. If they ran before, Redis has lost its data."
        )
    if theirs != ours:
        remedy = "Set PARTITIONS and IDEMPOTENCY_WINDOW_SECONDS of every process to what the data have."
        return problem(f"we are set to {ours.decode()}, the data to {theirs.decode()}", remedy)
    return ok(theirs.decode().partition(" ")[0])


async def look_at_persistence(patient: Patient) -> Verdict:
    """What is acknowledged is on disk, as often as DURABILITY says."""
    for server in await patient.servers():
        appendonly, appendfsync = await _read(server, "appendonly"), await _read(server, "appendfsync")
        kept = appendfsync if appendonly == "yes" else "never"
        if kept not in ("always", patient.expected.durability):
            seen = f"it writes to its disk {kept}, DURABILITY is {patient.expected.durability}"
            remedy = "Set appendonly yes and appendfsync always: else what is acknowledged can be lost."
            return problem(seen, remedy)
        info = await server.info("persistence")
        if info.get("aof_last_write_status", "ok") != "ok":
            return problem("its last write to the disk failed", "Look at its log and at the space on its disk, now.")
    return ok(f"appendfsync satisfies {patient.expected.durability}")


async def look_at_eviction(patient: Patient) -> Verdict:
    """Redis forgets nothing to make room."""
    for server in await patient.servers():
        if (policy := await _read(server, "maxmemory-policy")) != _POLICY:
            remedy = f"CONFIG SET maxmemory-policy {_POLICY}, and in its configuration: it may throw usage away."
            return problem(f"maxmemory-policy is {policy}", remedy)
        if evicted := (await server.info("stats"))["evicted_keys"]:
            remedy = "Find out who set another policy; run `quotastack ledger verify`."
            return warning(f"{evicted} keys were evicted since it started", remedy)
    return ok(f"maxmemory-policy is {_POLICY}")


async def look_at_memory(patient: Patient) -> Verdict:
    """There is room below maxmemory."""
    most = 0
    for server in await patient.servers():
        info = await server.info("memory")
        used, limit = info["used_memory"], info["maxmemory"] or info.get("total_system_memory", 0)
        seen = f"{used // MEBIBYTE} of {limit // MEBIBYTE} MiB"
        if limit and used * 100 >= limit * MOST_MEMORY_PERCENT:
            remedy = "Give it more memory, or see why the stream grows: full, it refuses usage, which is spooled."
            return warning(seen, remedy)
        most = max(most, used)
    return ok(f"{most // MEBIBYTE} MiB")


async def _read(server: Any, name: str) -> str:  # noqa: ANN401 - redis-py types little
    """A setting of a server. Raises ResponseError where it does not tell."""
    return (await server.config_get(name))[name]


CHECKS = (
    Check("redis", look_at_version),
    Check("redis-agreement", look_at_agreement),
    Check("redis-persistence", look_at_persistence),
    Check("redis-eviction", look_at_eviction),
    Check("redis-memory", look_at_memory),
)
