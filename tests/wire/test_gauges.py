"""Gauges in the stream: what is written is read back, what no table takes is rejected; and the scripts' sharp edges."""

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.moments import NEVER_AT
from app.wire import keys
from app.wire.events import EntryKind, StreamEntry, UnreadableEntry, parse_entry
from app.wire.gauges import (
    MAX_HELD_UNITS,
    MAX_HOLDER_LENGTH,
    GaugeAcquired,
    GaugeChange,
    GaugeReleased,
    Hold,
    decode_gauge,
    encode_gauge,
)
from tests.rules.laws import LAW
from tests.wire.gauge_models import Acquire, Look, Release
from tests.wire.real_partition import PARTITION
from tests.wire.script_models import Load
from tests.wire.test_script_cases import REF, loaded, state

if TYPE_CHECKING:
    from redis import Redis

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
units = st.integers(1, MAX_HELD_UNITS)
changes = st.builds(GaugeAcquired, names, names, units) | st.builds(GaugeReleased, names, names)
FAR_AT = 1_900_000_000_000_000


def fields(change: GaugeChange, **others: bytes) -> dict[bytes, bytes]:
    """A whole entry."""
    named = {b"a": b"ref", b"k": b"g", b"t": b"7", b"r": b"3", b"c": b"0", b"p": encode_gauge(change)}
    return named | {name.encode(): value for name, value in others.items()}


@LAW
@given(changes, st.none() | st.integers(0, NEVER_AT))
def test_a_change_is_read_back(change: GaugeChange, expires_at: int | None) -> None:
    """With the time that the script gave it, which only an acquisition has."""
    ends = {} if expires_at is None else {"d": b"%d" % expires_at}
    entry = parse_entry(b"1-1", fields(change, **ends))
    assert isinstance(entry, StreamEntry)
    assert (entry.kind, entry.payload, entry.order, entry.reservation) == (EntryKind.GAUGE, None, None, None)
    if isinstance(change, GaugeAcquired):
        change = GaugeAcquired(change.feature_key, change.holder, change.units, expires_at)
    assert entry.gauge == change


@pytest.mark.parametrize(
    "entry",
    [
        fields(GaugeAcquired("f", "", 1)),
        fields(GaugeAcquired("f", "x" * (MAX_HOLDER_LENGTH + 1), 1)),
        fields(GaugeAcquired("f", "a\0b", 1)),
        fields(GaugeAcquired("f\0", "a", 1)),
        fields(GaugeAcquired("f", "a", 0)),
        fields(GaugeAcquired("f", "a", MAX_HELD_UNITS + 1)),
        fields(GaugeAcquired("f", "a", 1), d=b"-1"),
        fields(GaugeAcquired("f", "a", 1), d=b"%d" % (NEVER_AT + 1)),
        fields(GaugeAcquired("f", "a", 1), d=b"soon"),
        fields(GaugeAcquired("f", "a", 1), c=b"-1"),
        fields(GaugeReleased("f", "")),
        fields(GaugeReleased("f", "a"), p=b""),
    ],
)
def test_what_no_table_takes_is_rejected(entry: dict[bytes, bytes]) -> None:
    """It would hold up its partition."""
    assert isinstance(parse_entry(b"1-1", entry), UnreadableEntry)


@LAW
@given(st.binary(max_size=30))
def test_anything_else_is_rejected(content: bytes) -> None:
    """A payload that is none is no error."""
    entry = parse_entry(b"1-1", fields(GaugeReleased("f", "a"), p=content))
    if isinstance(entry, StreamEntry):
        assert entry.gauge == decode_gauge(content, None)


def acquire(holder: str, now_at: int = FAR_AT, **changed: int | None) -> Acquire:
    """A holder asks for a seat."""
    return Acquire(REF, now_at, "s", "seats", holder, **changed)  # type: ignore[arg-type]


def test_moments_stay_exact(bare_valkey: "Redis") -> None:
    """Microseconds of this century pass through Lua, the sorted set and the stream without losing one."""
    real, _ = loaded(bare_valkey, state())
    assert real.acquire(acquire("a", for_at=6)) == [b"ok", 1, FAR_AT + 6]
    [(_, entry)] = real.client.xrange(keys.stream(PARTITION))
    assert entry[b"d"] == b"%d" % (FAR_AT + 6)
    assert real.acquire(acquire("b", FAR_AT + 5, cap=1)) == [b"limit", 1]
    assert real.acquire(acquire("b", FAR_AT + 6, cap=1)) == [b"ok", 1, 0]


def test_a_lowered_cap_throws_nobody_out(bare_valkey: "Redis") -> None:
    """Holders keep and renew what they have, and may ask for less; more is refused."""
    real, _ = loaded(bare_valkey, state())
    assert real.acquire(acquire("a", units=3, cap=5)) == [b"ok", 3, 0]
    assert real.acquire(acquire("a", units=3, cap=1)) == [b"ok", 3, 0]
    assert real.acquire(acquire("a", units=4, cap=1)) == [b"limit", 3]
    assert real.acquire(acquire("a", units=2, cap=1)) == [b"ok", 2, 0]
    assert real.acquire(acquire("b", cap=1)) == [b"limit", 2]


def test_thousands_are_freed_at_once(bare_valkey: "Redis") -> None:
    """Whoever looks first finds the place free, however many ended meanwhile; those without an end stay."""
    real, memory = loaded(bare_valkey, state())
    real.client.delete(keys.account(PARTITION, REF))
    real.client.set(keys.load_token(PARTITION, REF), b"token")
    ended = tuple(Hold("seats", f"ended-{number}", 2, FAR_AT - number) for number in range(2_500))
    kept = (Hold("seats", "forever", 7), Hold("runs", "later", 3, FAR_AT + 1))
    assert real.load(Load(state(), b"token", memory.meta["incarnation"], holds=ended + kept)) == b"loaded"
    assert real.look(Look(REF, FAR_AT - 2_500, ("seats", "runs")))[1] == [b"5007", b"3"]
    assert real.look(Look(REF, FAR_AT, ("seats", "runs")))[1] == [b"7", b"3"]
    assert real.client.hgetall(keys.gauge(PARTITION, REF)).keys() == {
        *(b"seats", b"seats\0", b"seats\0forever"),
        *(b"runs", b"runs\0", b"runs\0later"),
    }
    assert real.client.zrange(keys.gauge_due(PARTITION, REF), 0, -1) == [b"runs\0later"]


def test_nothing_is_left_of_what_is_released(bare_valkey: "Redis") -> None:
    """Both keys go with the last holder."""
    real, _ = loaded(bare_valkey, state())
    assert real.acquire(acquire("a", for_at=6)) == [b"ok", 1, FAR_AT + 6]
    assert real.release(Release(REF, FAR_AT, "s", "seats", "a")) == [b"ok", 1, 0]
    assert real.client.keys("*gauge*") == []


def test_a_load_installs_what_it_says_and_nothing_else(bare_valkey: "Redis") -> None:
    """What was left of an earlier life of the account does not count."""
    real, memory = loaded(bare_valkey, state())
    assert real.acquire(acquire("left", for_at=6)) == [b"ok", 1, FAR_AT + 6]
    real.client.delete(keys.account(PARTITION, REF))
    real.client.set(keys.load_token(PARTITION, REF), b"token")
    assert real.load(Load(state(), b"token", memory.meta["incarnation"])) == b"loaded"
    assert real.look(Look(REF, FAR_AT, ("seats",)))[1] == [None]
