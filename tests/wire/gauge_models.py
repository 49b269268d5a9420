"""What the scripts of gauges do, as `script_models` has it of the others."""

from dataclasses import dataclass

from tests.wire.script_models import Holds, Memory, append


@dataclass(frozen=True)
class Acquire:
    """Arguments of acquire.lua. `cap` None = none; `for_at` 0 = until it is released."""

    ref: bytes
    now_at: int
    snapshot: str
    feature: str
    holder: str
    units: int = 1
    for_at: int = 0
    cap: int | None = None
    payload: bytes = b""
    most_entries: int = 1_000_000
    most_holders: int = 10_000


@dataclass(frozen=True)
class Release:
    """Arguments of release.lua."""

    ref: bytes
    now_at: int
    snapshot: str
    feature: str
    holder: str
    payload: bytes = b""
    most_entries: int = 1_000_000


@dataclass(frozen=True)
class Look:
    """Arguments of look.lua, which reads the fields `revision` and `snapshot` here."""

    ref: bytes
    now_at: int
    features: tuple[str, ...] = ()


def acquire(memory: Memory, call: Acquire) -> list[bytes | int]:
    """Have a holder hold so many units, where they fit."""
    obstacle = _gauge_obstacle(memory, call)
    if obstacle is not None:
        return obstacle
    account, name = memory.accounts[call.ref], (call.feature, call.holder)
    at = account.clock(call.now_at)
    holds = _held_at(memory, call.ref, at)
    used, own = _held(holds, call.feature), holds.get(name, (0, 0))[0]
    more = call.units - own
    if more > 0 and call.cap is not None and used + more > call.cap:
        return [b"limit", used]
    if not own and sum(feature == call.feature for feature, _ in holds) >= call.most_holders:
        return [b"holders"]
    expires_at = at + call.for_at if call.for_at else 0
    ends = {b"d": b"%d" % expires_at} if expires_at else {}
    append(memory, call.ref, at, {b"k": b"g", b"c": b"0", b"p": call.payload, **ends})
    holds[name] = call.units, expires_at
    return [b"ok", used + more, expires_at]


def release(memory: Memory, call: Release) -> list[bytes | int]:
    """Have a holder hold nothing."""
    obstacle = _gauge_obstacle(memory, call)
    if obstacle is not None:
        return obstacle
    account = memory.accounts[call.ref]
    at = account.clock(call.now_at)
    holds = _held_at(memory, call.ref, at)
    held = holds.pop((call.feature, call.holder), None)
    if held is not None:
        append(memory, call.ref, at, {b"k": b"g", b"c": b"0", b"p": call.payload})
    return [b"ok", 0 if held is None else 1, _held(holds, call.feature)]


def look(memory: Memory, call: Look) -> list[list[bytes | None]]:
    """Read two fields of the account, and what is held of features."""
    account = memory.accounts.get(call.ref)
    if account is None:
        return [[None, None], [None] * len(call.features)]
    fields: list[bytes | None] = [b"%d" % account.revision, account.snapshot.encode()]
    if not call.features:
        return [fields, []]
    holds = _held_at(memory, call.ref, account.clock(call.now_at))
    return [fields, [b"%d" % used if (used := _held(holds, name)) else None for name in call.features]]


def _gauge_obstacle(memory: Memory, call: Acquire | Release) -> list[bytes | int] | None:
    account = memory.accounts.get(call.ref)
    if account is None:
        return [b"miss"]
    if account.snapshot != call.snapshot:
        return [b"snapshot", account.snapshot.encode()]
    return [b"full"] if len(memory.stream) >= call.most_entries else None


def _held_at(memory: Memory, ref: bytes, at: int) -> Holds:
    """What is held, without those whose time is over."""
    kept = {name: (units, end) for name, (units, end) in memory.gauges.get(ref, {}).items() if not end or at < end}
    memory.gauges[ref] = kept
    return kept


def _held(holds: Holds, feature: str) -> int:
    return sum(units for (of, _), (units, _) in holds.items() if of == feature)
