"""What the scripts of reservations do, written in Python like the others (script_models.py)."""

from dataclasses import dataclass, replace
from math import inf
from uuid import UUID

from app.rules import totals
from app.rules.credits import MAX_COST_MICRO
from app.rules.moments import NEVER_AT
from app.rules.pricing import GraduatedPrice, cost_micro
from app.wire import keys
from tests.wire.script_models import (
    EdgeAccount,
    Held,
    Memory,
    Priced,
    append,
    append_usage,
    beyond_bound,
    count_used,
    due_score,
    used_of,
    waits_at_boundary,
)

ENDS = {"committed", "released", "expired"}
_SAME_ENVIRONMENT = b"e" * keys.ENVIRONMENT_REF_LENGTH


@dataclass(frozen=True)
class Reserve(Priced):
    """Arguments of reserve.lua. `lowest`: '' = the account's floor, '-' = none; `key` is the reservation's id."""

    ref: bytes
    key: UUID
    now_at: int
    snapshot: str
    cost: int
    lasts: int = 10
    payload: bytes = b""
    lowest: str = ""
    fingerprint: bytes = b"f"
    facts: bytes = b""
    most_open: int = 10_000
    most_named: int = 100
    most_entries: int = 1_000_000


@dataclass(frozen=True)
class End:
    """Arguments of end_reservation.lua. `late`: payload of the usage that a late commit is."""

    ref: bytes
    key: UUID
    now_at: int
    verb: str
    used: int = 0
    asked: str = ""
    payload: bytes = b"end"
    expiry: bytes = b"expiry"
    late: bytes = b"late"
    most_entries: int = 1_000_000
    graduated: GraduatedPrice | None = None
    feature_key: str = "f"
    units_micro: int | None = None
    """None where credits were reserved."""
    facts: bytes | None = None
    """As whoever asks knows them; None = as the hash has them, and so with what is reserved."""
    reserved: int | None = None


@dataclass(frozen=True)
class Extend:
    """Arguments of extend_reservation.lua."""

    ref: bytes
    key: UUID
    now_at: int
    lasts: int
    payload: bytes = b""
    most_entries: int = 1_000_000


def reserve(memory: Memory, call: Reserve) -> list[bytes]:  # noqa: C901, PLR0911 - one for each answer, in their order
    """Set credit aside."""
    held, account = memory.reservations.get(call.key), memory.accounts.get(call.ref)
    if held is not None and held.opening is not None:
        return [b"seen", held.asked or b"", held.opening.encode()]
    if account is None:
        return [b"miss"]
    if held is not None:
        return [b"seen", b"", f"+{held.reserved}:{account.available}:{held.due}".encode()]
    at = max(account.clock(call.now_at), account.last_at + 1)
    if waits_at_boundary(memory, call.ref, account, at):
        return [b"wait"]
    if account.snapshot != call.snapshot:
        return [b"snapshot", account.snapshot.encode()]
    if account.is_of_another_time(call.now_at, at):
        return [b"frozen", b"%d" % (account.frozen or 0)]
    if at >= call.until_at:
        return [b"reprice", b"%d" % at]
    used = used_of(memory, call.ref, call.feature_key)
    if call.graduated is not None:
        call = replace(call, cost=cost_micro(call.graduated, call.units_micro, used))
    if call.cost > MAX_COST_MICRO and call.graduated is not None:
        return [b"dear", b"%d" % call.cost]
    has_many = (account.open or 0) >= call.most_open
    if has_many or _is_beyond(account, call, used) or _is_short(account, call):
        members = _past_due(memory, call.now_at)[: call.most_named]
        if members and account.frozen is None:
            return [b"due", *members]
        return [b"many"] if has_many else _refuse(memory, call, account)
    if bound := beyond_bound(memory, account, call.cost, call.most_entries):
        return [bound]
    return _open(memory, call, account, at)


def _open(memory: Memory, call: Reserve, account: EdgeAccount, at: int) -> list[bytes]:
    left, due_at, until = account.available - call.cost, at + call.lasts, account.valid_until
    fields = {b"k": b"r", b"c": b"%d" % call.cost, b"p": call.payload, b"d": b"%d" % due_at}
    counted: tuple[int, int] | None = None
    if call.counts and account.period is not None:
        counted, fields[b"s"] = (call.units_micro, account.period), b"%d" % account.period
        used = used_of(memory, call.ref, call.feature_key)
        count_used(memory, call.ref, call.feature_key, used + call.units_micro)
    append(memory, call.ref, at, fields)
    account.accepted = totals.wrap(account.accepted + call.cost)
    account.reserved = (account.reserved or 0) + call.cost
    account.open = (account.open or 0) + 1
    memory.due[call.key] = due_score(account, due_at)
    outcome = f"+{call.cost}:{left}:{due_at}"
    opened = ("open", call.ref, call.facts, call.fingerprint, outcome, call.cost, account.last_id, until, due_at)
    held = memory.reservations[call.key] = Held(*opened)
    held.units, held.period = counted or (None, None)
    return [b"ok", outcome.encode()]


def _is_beyond(account: EdgeAccount, call: Reserve, used: int) -> bool:
    """Whether the units are more than the limit of the period leaves."""
    counts = call.counts and account.period is not None
    return counts and call.limit is not None and used + call.units_micro > call.limit


def _is_short(account: EdgeAccount, call: Reserve) -> bool:
    lowest = account.floor if call.lowest == "" else call.lowest
    return lowest != "-" and call.cost > 0 and account.available - call.cost < int(lowest)


def _past_due(memory: Memory, at: int) -> list[bytes]:
    """In the order of a sorted set."""
    found = [(due_at, keys.due_member(_SAME_ENVIRONMENT, key)) for key, due_at in memory.due.items() if due_at <= at]
    return [member for _, member in sorted(found)]


def _refuse(memory: Memory, call: Reserve, account: EdgeAccount) -> list[bytes]:
    outcome, used = f"-{call.cost}:{account.available}", used_of(memory, call.ref, call.feature_key)
    if _is_beyond(account, call, used):
        outcome = f"!{outcome[1:]}:{used}:{call.limit}:{account.resets_at}"
    memory.reservations[call.key] = Held("refused", asked=call.fingerprint, opening=outcome)
    return [b"ok", outcome.encode()]


def end(memory: Memory, call: End) -> list[bytes]:  # noqa: C901, PLR0911 - one for each answer, in their order
    """Commit, release or expire."""
    held, account = memory.reservations.get(call.key), memory.accounts.get(call.ref)
    if held is None or held.state == "refused":
        memory.due.pop(call.key, None)
        return [b"unknown"]
    if call.facts not in {None, held.facts} or call.reserved not in {None, held.reserved}:
        return [b"other"]
    if held.state in ENDS and (held.state, call.verb) != ("expired", "committed"):
        is_repeat = held.state == call.verb and held.ended_asked == call.asked
        return _answer(b"again", held.ended) if is_repeat else [b"ended", held.state.encode()]
    if held.state == "expired" and held.late is not None:
        return _answer(b"again", held.late) if held.late_asked == call.asked else [b"ended", b"expired"]
    if account is None:
        return [b"miss"]
    at, others = account.clock(call.now_at), _others(memory, call, held, account)
    if call.graduated is not None:
        call = replace(call, used=cost_micro(call.graduated, call.units_micro or 0, others))
    if call.used > MAX_COST_MICRO and call.graduated is not None:
        return [b"dear", b"%d" % call.used]
    if held.state == "open":
        assert held.due is not None
        if call.verb == "expired" and at < held.due:
            return [_keep_open(memory, call, account)]
        if bound := _end_open(memory, call, held, at, others):
            return [bound]
        if held.state == call.verb:
            return _answer(b"ok", held.ended)
        if call.verb != "committed":
            return [b"ended", b"expired"]
    return _commit_late(memory, call, held, at)


def _keep_open(memory: Memory, call: End, account: EdgeAccount) -> bytes:
    """It is not past due. What was opened before its account was on a test clock is not named as due any more."""
    is_apart = account.frozen is None or memory.due[call.key] == inf
    memory.due[call.key] = memory.due[call.key] if is_apart else inf
    return b"open" if is_apart else b"apart"


def _others(memory: Memory, call: End, held: Held, account: EdgeAccount) -> int:
    """What is counted of the feature without the reservation's own opening."""
    used = 0 if call.units_micro is None else used_of(memory, call.ref, call.feature_key)
    is_in = held.state == "open" and held.period == account.period and call.units_micro is not None
    return max(0, used - (held.units or 0)) if is_in else used


def _counts(held: Held, call: End, account: EdgeAccount) -> bool:
    """Whether its units count: they did when it was opened, and something is counted still."""
    return held.period is not None and call.units_micro is not None and account.period is not None


def _end_open(memory: Memory, call: End, held: Held, at: int, others: int) -> bytes | None:
    """The first end. Answers the bound that it would go beyond."""
    assert held.due is not None
    assert held.reserved is not None
    account, is_due = memory.accounts[call.ref], at >= held.due
    used = 0 if is_due else call.used
    cost = used - held.reserved
    if cost < 0 and _is_uncertain(account, held, at):
        cost = 0
    if cost > 0 and (bound := beyond_bound(memory, account, cost, call.most_entries)):
        return bound
    payload = call.expiry if is_due else call.payload
    fields = {b"k": b"r", b"c": b"%d" % cost, b"p": payload, b"u": b"%d" % used}
    is_commit = call.verb == "committed" and not is_due
    if _counts(held, call, account):
        count_used(memory, call.ref, call.feature_key, others + (call.units_micro or 0) * is_commit)
        if is_commit:
            fields[b"s"] = b"%d" % (account.period or 0)
    append(memory, call.ref, at, fields)
    account.accepted = totals.wrap(account.accepted + cost)
    if cost < 0:
        assert held.until is not None
        account.returned_id = account.last_id
        account.returned_until = min(held.until, NEVER_AT if account.returned_until is None else account.returned_until)
        account.valid_until = min(account.valid_until, account.returned_until)
    account.reserved = max(0, (account.reserved or 0) - held.reserved)
    account.open = max(0, (account.open or 0) - 1)
    memory.due.pop(call.key, None)
    held.state = "expired" if is_due else call.verb
    held.ended_asked = call.asked if held.state == call.verb else ""
    held.ended = f"{used}:{max(0, held.reserved - used)}:{account.available}:0"
    return None


def _is_uncertain(account: EdgeAccount, held: Held, at: int) -> bool:
    """Whether some of the credit may have expired, or be gone, since it was reserved."""
    assert held.until is not None
    if at >= held.until:
        return True
    return account.ordered_id is not None and held.opened_id is not None and account.ordered_id >= held.opened_id


def _commit_late(memory: Memory, call: End, held: Held, at: int) -> list[bytes]:
    account = memory.accounts[call.ref]
    if bound := beyond_bound(memory, account, call.used, call.most_entries):
        return [bound]
    counted = (call.feature_key, call.units_micro or 0) if _counts(held, call, account) else None
    append_usage(memory, call.ref, at, call.used, call.late, counted=counted)
    held.late_asked, held.late = call.asked, f"{call.used}:0:{account.available}:1"
    return _answer(b"ok", held.late)


def extend(memory: Memory, call: Extend) -> list[bytes]:
    """Have a reservation fall due later."""
    held, account = memory.reservations.get(call.key), memory.accounts.get(call.ref)
    if held is None or held.state == "refused":
        return [b"unknown"]
    if held.state != "open":
        return [b"ended", held.state.encode()]
    if account is None:
        return [b"miss"]
    assert held.due is not None
    at = account.clock(call.now_at)
    if at >= held.due:
        return [b"due"]
    if at + call.lasts > held.due:
        if len(memory.stream) >= call.most_entries:
            return [b"full"]
        held.due = at + call.lasts
        memory.due[call.key] = due_score(account, held.due)
        append(memory, call.ref, at, {b"k": b"r", b"c": b"0", b"p": call.payload, b"d": b"%d" % held.due})
    return [b"ok", b"%d" % held.due]


def _answer(kind: bytes, outcome: str | None) -> list[bytes]:
    assert outcome is not None
    return [kind, outcome.encode()]
