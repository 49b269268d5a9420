"""The scripts and their models agree: the same calls, the same answers, the same keys, whatever the order."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from app.rules.credits import MICRO
from app.rules.moments import NEVER_AT
from app.rules.pricing import GraduatedPrice, Tier
from app.rules.totals import MAX_DISTANCE, MODULUS
from app.wire import keys
from app.wire.gauges import Hold
from app.wire.snapshot import NOTHING_BESIDE, AccountState, Beside
from tests.wire import gauge_models
from tests.wire import script_models as models
from tests.wire.gauge_models import Acquire, Look, Release
from tests.wire.real_partition import ENVIRONMENT, PARTITION, RealPartition
from tests.wire.script_models import (
    NOTHING_YET,
    Accept,
    Load,
    Memory,
    NotePublished,
    Publish,
    Retry,
    SetClock,
    StreamId,
)

if TYPE_CHECKING:
    from redis import Redis

PROGRAMS = 640
CALLS = 40
REFS = (b"a", b"b")
EVENTS = tuple(UUID(int=n) for n in range(1, 16))
FEATURES = ("seats", "runs")
HOLDERS = ("x", "y", "seats", "ä:1")
TOKENS = (b"token-1", b"token-2")
INCARNATIONS = ("1f", "2e")
DOUBLES = NEVER_AT
"""Where a double stops counting."""
NEAR_WRAPS = (0, MODULUS - 200, 3 * MODULUS - 100, MODULUS // 2, MODULUS - MAX_DISTANCE, MAX_DISTANCE)
FEATURES = ("f", "g")
BALANCES = (500, 500, 500, 0, -80, DOUBLES - 50, 50 - DOUBLES)
GRADUATED = (
    GraduatedPrice((Tier(10, 30), Tier(25, 7), Tier(None, 1)), 3),
    GraduatedPrice((Tier(None, 2 * MICRO),)),
)
EVERY_ANSWER = {
    *("seen", "miss", "wait", "snapshot", "accepted", "refused for credit", "refused for the limit"),
    *("backlog", "range", "full"),
    *("early", "published", "stale", "absent", "begun", "unready", "loaded", "present", "refused", "changed"),
    *("noted", "not noted", "ordered", "not ordered", "retried", "again", "reprice", "frozen", "dear"),
    *("acquired", "renewed", "limit", "holders", "released", "held nothing", "looked"),
}


@dataclass(frozen=True)
class Begin:
    """load_begin.lua."""

    ref: bytes
    new_token: bytes


@dataclass(frozen=True)
class Tick:
    """tick.lua."""

    ref: bytes
    now_at: int


@dataclass(frozen=True)
class Order:
    """order.lua."""

    ref: bytes
    now_at: int
    payload: bytes


@dataclass(frozen=True)
class Change:
    """What others do to the keys between two scripts."""

    name: str
    ref: bytes
    event: UUID


Step = (
    Accept
    | Retry
    | Publish
    | Load
    | Begin
    | Tick
    | SetClock
    | Order
    | NotePublished
    | Acquire
    | Release
    | Look
    | Change
)


class Programmer:
    """Makes up the next call. A cursor stands for how many entries back from the end of the stream it is."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._wrap = self._random.choice(NEAR_WRAPS)

    def state(self, ref: bytes | None = None) -> AccountState:
        """Figures of an account; its total lies near the same wrap in the whole program."""
        pick, number = self._random.choice, self._random.randint
        return AccountState(
            ref or pick(REFS),
            number(1, 12),
            pick(BALANCES) + number(-30, 30),
            self._wrap + number(0, 250),
            pick([NEVER_AT, NEVER_AT, NEVER_AT, number(3, 20)]),
            number(0, 12),
            pick(["s1", "s1", "s1", "s2"]),
            pick(["none", "active"]),
            number(-60, 0),
            self._beside(),
            pick([*[None] * 7, number(0, 14)]),
        )

    def _beside(self) -> Beside:
        """Mostly one of two periods, and counters of what there is of them; often nothing."""
        pick, number = self._random.choice, self._random.randint
        if pick([True, False]):
            return NOTHING_BESIDE
        counters = [
            (feature, pick([number(0, 40) * MICRO, DOUBLES - 5, DOUBLES + 7])) for feature in FEATURES if pick([0, 1])
        ]
        return Beside(number(0, 9), number(0, 2), pick([0, 100, 100, 200]), counters, number(200, 300))

    def step(self) -> Step:  # noqa: C901, PLR0911 - one for each script
        """The next call."""
        pick, number, ref = self._random.choice, self._random.randint, self._random.choice(REFS)
        match self._random.choices(
            ["accept", "retry", "publish", "begin", "load", "tick", "clock", "order", "note", "gauge", "change"],
            [54, 9, 18, 16, 18, 3, 1, 3, 3, 40, 10],
        )[0]:
            case "accept":
                return self._accept(ref)
            case "retry":
                return self._retry(ref)
            case "publish":
                return Publish(self.state(), pick(["", *INCARNATIONS]), (0, number(0, 4)), pick(TOKENS))
            case "begin":
                return Begin(ref, pick(TOKENS))
            case "load":
                return Load(self.state(), pick(TOKENS), pick(INCARNATIONS), holds=self._holds())
            case "tick":
                return Tick(ref, number(0, 25))
            case "clock":
                return SetClock(ref, number(0, 25), pick(TOKENS))
            case "order":
                return Order(ref, number(0, 14), pick([b"", b"\x00 order"]))
            case "note":
                return NotePublished(pick(INCARNATIONS), (0, number(0, 4)), NOTHING_YET, pick([2, 1_000_000]))
            case "gauge":
                return self._gauge(ref)
        return Change(
            pick(
                [
                    *[
                        "evict",
                        "evict",
                        "forget",
                        "incarnation",
                        "incarnation",
                        "closed",
                        "closed",
                        "plant",
                        "trim",
                        "use",
                        "use",
                        "use",
                    ]
                ]
            ),
            ref,
            pick(EVENTS),
        )

    def _holds(self) -> tuple[Hold, ...]:
        pick, number = self._random.choice, self._random.randint
        names = {(pick(FEATURES), pick(HOLDERS)) for _ in range(number(0, 3))}
        return tuple(Hold(*name, number(1, 5), pick([0, number(1, 20)])) for name in sorted(names))

    def _gauge(self, ref: bytes) -> Acquire | Release | Look:
        pick, number = self._random.choice, self._random.randint
        whose = (ref, number(0, 14), pick(["s1", "s1", "s1", "s2"]), pick(FEATURES), pick(HOLDERS))
        payload, most_entries = pick([b"", b"\x00\xff payload"]), pick([1_000_000, 1_000_000, 1_000_000, 3])
        match pick(["acquire", "acquire", "release", "look"]):
            case "acquire":
                asked = (number(1, 4), pick([0, 0, number(1, 6)]), pick([None, 3, 6, 0]))
                return Acquire(*whose, *asked, payload, most_entries, pick([10_000, 2, 1]))
            case "release":
                return Release(*whose, payload, most_entries)
        return Look(ref, whose[1], pick([(), FEATURES, FEATURES[:1], ("none", *FEATURES)]))

    def _retry(self, ref: bytes) -> Retry:
        pick, number = self._random.choice, self._random.randint
        return Retry(
            ref,
            pick(EVENTS[:4]),
            number(0, 14),
            pick([number(0, 300), number(0, 9), 0, 10**15]),
            pick([b"1-1", b"2-1"]),
            pick([b"", b"\x00\xff payload"]),
            pick([1_000_000, 1_000_000, 1_000_000, 3]),
            pick(FEATURES),
            number(1, 40) * MICRO,
            pick([True, False]),
        )

    def _accept(self, ref: bytes) -> Accept:
        pick, number = self._random.choice, self._random.randint
        return Accept(
            ref,
            pick(EVENTS),
            number(0, 14),
            pick(["s1", "s1", "s1", "s2"]),
            pick([number(0, 300), number(0, 9), 0, 10**15]),
            pick([b"", b"\x00\xff payload"]),
            enforce=pick([True, False]),
            lowest=pick(["", "", "-", "0", "-120"]),
            fingerprint=pick([b"f", b"\x01" + bytes(24)]),
            most_entries=pick([1_000_000, 1_000_000, 1_000_000, 3]),
            graduated=pick([None, None, None, GRADUATED[0], GRADUATED[0], GRADUATED[1]]),
            until_at=pick([NEVER_AT, NEVER_AT, NEVER_AT, number(3, 20)]),
            feature_key=pick(FEATURES),
            units_micro=pick([number(1, 40), number(1, 40), 10**9]) * MICRO,
            counted=pick([True, False]),
            limit=pick([None, number(0, 60) * MICRO, DOUBLES]),
        )


def both(  # noqa: C901, PLR0911, PLR0912 - one for each script
    step: Step, real: RealPartition, memory: Memory
) -> tuple[object, object]:
    """(the server's answer, the model's answer)."""
    match step:
        case Accept():
            return real.accept(step), models.accept(memory, step)
        case Retry():
            return real.retry(step), models.retry(memory, step)
        case Tick():
            return real.tick(step.ref, step.now_at), models.tick(memory, step.ref, step.now_at)
        case SetClock():
            return real.set_clock(step), models.set_clock(memory, step)
        case Order():
            call = (step.ref, step.now_at, step.payload)
            return real.order(*call), models.order(memory, *call)
        case Publish():
            call = replace(step, cursor=_back(memory, step.cursor[1]))
            return real.publish(call), models.publish(memory, call)
        case Load():
            return real.load(step), models.load(memory, step)
        case Begin():
            said = models.load_begin(memory, step.ref, step.new_token)
            if said[0] == b"begun":
                said[3] = real.real_id(_back(memory, 0))
            return real.load_begin(step.ref, step.new_token), said
        case Acquire():
            return real.acquire(step), gauge_models.acquire(memory, step)
        case Release():
            return real.release(step), gauge_models.release(memory, step)
        case Look():
            return real.look(step), gauge_models.look(memory, step)
        case NotePublished():
            note = replace(step, cursor=_back(memory, step.cursor[1]))
            return real.note_published(note), models.note_published(memory, note)
        case Change():
            _change(step, real, memory)
            return b"changed", b"changed"


def _back(memory: Memory, count: int) -> StreamId:
    """Id of the entry that many before the last; before all of them where there are fewer."""
    return memory.stream[-1 - count][0] if count < len(memory.stream) else NOTHING_YET


def _change(change: Change, real: RealPartition, memory: Memory) -> None:
    client, meta = real.client, keys.meta(PARTITION)
    match change.name:
        case "evict":
            account_key = keys.account(PARTITION, change.ref)
            beside = (keys.used(PARTITION, change.ref), keys.load_token_of(account_key), *keys.gauges_of(account_key))
            client.delete(account_key, *beside)
            memory.used.pop(change.ref, None)
            memory.accounts.pop(change.ref, None)
            memory.gauges.pop(change.ref, None)
            memory.tokens.pop(change.ref, None)
        case "forget":
            names = (keys.seen, keys.retried)
            client.delete(*(name(PARTITION, ENVIRONMENT, change.event) for name in names))
            memory.seen.pop(change.event, None)
            memory.retried.pop(change.event, None)
        case "incarnation":
            client.hset(meta, "incarnation", INCARNATIONS[0])
            memory.meta["incarnation"] = INCARNATIONS[0]
        case "closed":
            client.hdel(meta, "incarnation")
            memory.meta.pop("incarnation", None)
        case "plant":
            client.set(keys.load_token(PARTITION, change.ref), TOKENS[0])
            memory.tokens[change.ref] = TOKENS[0]
        case "use" if _counts(memory, change.ref):
            used = memory.used.setdefault(change.ref, {})
            used["f"] = used.get("f", 0) + 7 * MICRO - 1
            client.hincrby(keys.used(PARTITION, change.ref), "f", 7 * MICRO - 1)
        case "trim" if memory.stream:
            client.xtrim(keys.stream(PARTITION), minid=real.real_id(_back(memory, 0)), approximate=False)
            del memory.stream[:-1]


def _counts(memory: Memory, ref: bytes) -> bool:
    """Whether something is counted of an account, and a counter has not come to its end."""
    account = memory.accounts.get(ref)
    is_counted = account is not None and account.period is not None
    return is_counted and memory.used.get(ref, {}).get("f", 0) < DOUBLES // 2


def _is_countable(step: Step, memory: Memory) -> bool:
    """Whether a healthy system comes to this: what can be spent is bounded, because balances and backlogs are."""
    account = memory.accounts.get(step.ref) if isinstance(step, Accept | Retry) else None
    return account is None or abs(account.available) <= DOUBLES


def begin(client: "Redis", programmer: Programmer) -> tuple[RealPartition, Memory]:
    """Both sides with two loaded accounts."""
    real, memory = RealPartition(client), Memory(meta={"incarnation": INCARNATIONS[0]})
    real.client.hset(keys.meta(PARTITION), mapping=memory.meta)
    for ref in REFS:
        both(Begin(ref, TOKENS[0]), real, memory)
        load = Load(programmer.state(ref), TOKENS[0], INCARNATIONS[0])
        assert both(load, real, memory) == (b"loaded", b"loaded")
    return real, memory


def _run(client: "Redis", seed: int) -> Iterator[str]:
    """Run one program; yields the kind of every answer."""
    programmer = Programmer(seed)
    real, memory = begin(client, programmer)
    for number in range(CALLS):
        step = programmer.step()
        if not _is_countable(step, memory):
            continue
        held = list(memory.gauges.get(step.ref, {})) if isinstance(step, Acquire) else []
        answer, said = both(step, real, memory)
        assert answer == said, (seed, number, step)
        found, expected = real.observe(memory, REFS, EVENTS)
        assert found == expected, (seed, number, step)
        is_renewed = isinstance(step, Acquire) and (step.feature, step.holder) in held
        yield _kind(step, answer, is_renewed=is_renewed)


def _kind(step: Step, answer: object, *, is_renewed: bool) -> str:  # noqa: PLR0911 - one for each form of an answer
    match step, answer:
        case Look(), _:
            return "looked"
        case Order(), _:
            return "ordered" if answer == b"ok" else "not ordered"
        case Acquire(), [b"ok", *_]:
            return "renewed" if is_renewed else "acquired"
        case Release(), [b"ok", held, _]:
            return "released" if held else "held nothing"
    match answer:
        case [b"ok", outcome]:
            return {b"+": "accepted", b"-": "refused for credit", b"!": "refused for the limit"}[outcome[:1]]
        case int():
            return "noted" if answer else "not noted"
        case [bytes() as kind, *_] | (bytes() as kind):
            return kind.decode()
    raise AssertionError(answer)


@pytest.mark.slow
def test_scripts_agree_with_their_models(bare_valkey: "Redis") -> None:
    """Every answer and, after every call, every key; and each answer that there is comes often."""
    met = Counter(kind for seed in range(PROGRAMS) for kind in _run(bare_valkey, seed))
    assert met.keys() == EVERY_ANSWER
    assert min(met.values()) >= 10, met
