"""The scripts of reservations and their models agree, among all that happens to the accounts meanwhile."""

from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from app.rules.credits import MICRO
from app.rules.moments import NEVER_AT
from tests.wire import reservation_models as models
from tests.wire.real_partition import RealPartition
from tests.wire.reservation_models import End, Extend, Reserve
from tests.wire.script_models import Load, Memory, Reopened, SetClock
from tests.wire.test_script_agreement import (
    DOUBLES,
    FEATURES,
    GRADUATED,
    INCARNATIONS,
    REFS,
    TOKENS,
    Change,
    Programmer,
    Step,
    begin,
    both,
)

if TYPE_CHECKING:
    from redis import Redis

PROGRAMS = 640
CALLS = 60
RESERVATIONS = tuple(UUID(int=n << 64) for n in range(1, 7))
EVERY_ANSWER = {
    *("reserved", "refused for credit", "refused for the limit"),
    *("reserve seen", "reserve miss", "reserve wait", "reserve snapshot", "reserve reprice", "reserve dear"),
    "reserve frozen",
    *("reserve due", "reserve many", "reserve backlog", "reserve full", "reserve range"),
    *(
        "committed",
        "released",
        "expired",
        "late",
        "end again",
        "end ended",
        "end open",
        "end apart",
        "end unknown",
        "end miss",
    ),
    *("end other", "end backlog", "end full", "end range", "end dear"),
    *("extend ok", "extend ended", "extend due", "extend unknown", "extend miss", "extend full"),
}


class ReservationProgrammer:
    """Makes up the next call: of every three, two are about reservations."""

    def __init__(self, seed: int) -> None:
        self.others = Programmer(seed)
        self._random = Random(seed)

    def step(self) -> Step | Reserve | End | Extend:  # noqa: PLR0911 - one for each script
        """The next call."""
        pick, number = self._random.choice, self._random.randint
        at, most_entries = number(0, 14), pick([1_000_000, 1_000_000, 1_000_000, 1_000_000, 3])
        key = pick(RESERVATIONS)
        ref = _owner(key)
        match self._random.choices(
            ["reserve", "end", "extend", "load", "evict", "clock", "other"], [30, 34, 6, 12, 1, 1, 16]
        )[0]:
            case "reserve":
                lasts, cost = number(1, 9), pick([number(0, 300), number(0, 40), 0, *[10**15] * 4])
                return Reserve(
                    *(ref, key, at, pick(["s1", "s1", "s1", "s2"]), cost, lasts, b"\x00 opening"),
                    lowest=pick(["", "-", "-", "-", "-", "0", "-120"]),
                    facts=b"\xff\n\x00 facts",
                    most_open=pick([10_000, 10_000, 2, 1]),
                    most_named=pick([1, 100]),
                    most_entries=most_entries,
                    graduated=pick([None, None, None, *GRADUATED]),
                    until_at=pick([NEVER_AT, NEVER_AT, NEVER_AT, number(3, 20)]),
                    feature_key=pick(FEATURES),
                    units_micro=pick([number(1, 40), 10**9]) * MICRO,
                    counted=pick([True, False]),
                    limit=pick([None, None, None, number(0, 60) * MICRO]),
                )
            case "end":
                verb = pick(["committed", "committed", "released", "expired"])
                used = pick([0, 40, number(0, 300), 10**15, 10**15, 10**15]) if verb == "committed" else 0
                is_commit = verb == "committed"
                graduated = pick([None, None, None, *GRADUATED]) if is_commit else None
                counted = pick([number(0, 40), number(1, 40), 10**9]) * MICRO if is_commit else 0
                return End(
                    *(ref, key, at, verb, used, pick(["1", "2"]) if verb == "committed" else ""),
                    most_entries=most_entries,
                    graduated=graduated,
                    feature_key=pick(FEATURES),
                    units_micro=counted if graduated is not None else pick([None, counted, counted]),
                    facts=pick([*[None] * 9, b"\xff other"]),
                    reserved=pick([*[None] * 9, number(0, 40)]),
                )
            case "extend":
                return Extend(ref, key, at, number(1, 20), b"\x00 extension", most_entries)
            case "load":
                state = self.others.state(ref)
                own = [one for one in RESERVATIONS if _owner(one) == ref]
                held = tuple(
                    Reopened(one, b"\x00 f", number(0, 90), number(0, 20), pick([None, (number(0, 40) * MICRO, 100)]))
                    for one in own[: number(0, 2)]
                )
                return Load(state, pick(TOKENS), pick(INCARNATIONS), held)
            case "evict":
                return Change("evict", ref, key)
            case "clock":
                return SetClock(ref, number(0, 9), pick(TOKENS))
        return self.others.step()


def _owner(key: UUID) -> bytes:
    return REFS[(key.int >> 64) % len(REFS)]


def _both(step: Step | Reserve | End | Extend, real: RealPartition, memory: Memory) -> tuple[object, object]:
    """(the server's answer, the model's answer)."""
    match step:
        case Reserve():
            return real.reserve(step), models.reserve(memory, step)
        case End():
            return real.end(step), models.end(memory, step)
        case Extend():
            return real.extend(step), models.extend(memory, step)
        case _:
            return both(step, real, memory)


def _is_countable(step: object, memory: Memory) -> bool:
    """Whether a healthy system comes to this: what can be spent is bounded, because balances and backlogs are."""
    account = memory.accounts.get(getattr(step, "ref", b""))
    held = memory.reservations.get(step.key) if isinstance(step, End) else None
    coming_back = 0 if held is None else held.reserved or 0
    return account is None or abs(account.available) + coming_back <= DOUBLES


def _run(client: "Redis", seed: int) -> Iterator[str]:
    """Run one program; yields the kind of every answer about a reservation."""
    programmer = ReservationProgrammer(seed)
    real, memory = begin(client, programmer.others)
    for number in range(CALLS):
        step = programmer.step()
        if not _is_countable(step, memory):
            continue
        answer, said = _both(step, real, memory)
        assert answer == said, (seed, number, step)
        found, expected = real.observe(memory, REFS, ())
        assert found == expected, (seed, number, step)
        found, expected = real.observe_reservations(memory, RESERVATIONS)
        assert found == expected, (seed, number, step)
        if isinstance(step, Reserve | End | Extend):
            assert isinstance(answer, list)
            yield _kind(step, answer)


def _kind(step: Reserve | End | Extend, answer: list[bytes]) -> str:
    match step, answer:
        case Reserve(), [b"ok", outcome]:
            kinds = {b"+": "reserved", b"-": "refused for credit", b"!": "refused for the limit"}
            return kinds[outcome[:1]]
        case End(), [b"ok", outcome]:
            return "late" if outcome.endswith(b":1") else step.verb
    return f"{type(step).__name__.lower()} {answer[0].decode()}"


@pytest.mark.slow
def test_scripts_of_reservations_agree_with_their_models(bare_valkey: "Redis") -> None:
    """Every answer and, after every call, every key; and each answer that there is comes often."""
    met = Counter(kind for seed in range(PROGRAMS) for kind in _run(bare_valkey, seed))
    assert met.keys() == EVERY_ANSWER
    assert min(met.values()) >= 10, met
