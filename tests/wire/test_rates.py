"""Rate limits: the script counts as its model does, and what answers say of it can be read."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire import keys, scripts
from app.wire.ids import show
from app.wire.rates import (
    MICROSECONDS,
    STANDING,
    Admission,
    Ask,
    Asker,
    RateLimits,
    read_allowances,
    script_arguments,
    script_keys,
    why_refused,
)
from tests.rules.laws import LAW
from tests.wire.rate_models import Call, Counters, read_list

if TYPE_CHECKING:
    from redis import Redis

PARTITIONS = 8
MOST = 10**12
calls = st.builds(
    Call,
    key=st.integers(0, 1),
    tenant=st.integers(0, 1),
    window=st.integers(0, 1),
    key_most=st.sampled_from([1, 19, 60, 1_000]),
    tenant_most=st.sampled_from([1, 21, 60, 1_500]),
    waiting=st.integers(0, 70),
    ahead=st.integers(0, 200),
)


def asker(key: int = 0, tenant: int = 0) -> Asker:
    """One of several keys of one of several environments."""
    return Asker(keys.environment_ref(UUID(int=tenant)), UUID(int=key))


def admit(client: "Redis", who: Asker, limits: RateLimits, ask: Ask) -> list[int]:
    """Run admit.lua."""
    anything: Any = client
    names = script_keys(who, ask.window, PARTITIONS)
    return anything.eval(scripts.ADMIT.text, len(names), *names, *script_arguments(limits, ask))


@LAW
@given(st.lists(calls, max_size=20))
def test_the_script_counts_as_the_model_does(bare_valkey: "Redis", sequence: list[Call]) -> None:
    """Whoever asks for whatever in whatever order, with limits that change meanwhile."""
    bare_valkey.flushall()
    model = Counters()
    for call in sequence:
        limits = RateLimits(call.key_most, call.tenant_most, 60)
        ask = Ask(60 * call.window, call.waiting, call.ahead)
        assert admit(bare_valkey, asker(call.key, call.tenant), limits, ask) == model.admit(call)


@LAW
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 9)), max_size=60))
def test_nobody_is_granted_more_than_there_is(bare_valkey: "Redis", asked: list[tuple[int, int, int]]) -> None:
    """No key more than its limit, no environment more than its own; and those that wait have all there is."""
    bare_valkey.flushall()
    limits, granted = RateLimits(40, 70, 60), [0, 0, 0]
    for key, waiting, ahead in asked:
        before = granted[key], sum(granted)
        admission = Admission(*admit(bare_valkey, asker(key), limits, Ask(0, waiting, ahead)))
        granted[key] += admission.granted
        left = min(40 - before[0], 70 - before[1])
        assert min(waiting, left) <= admission.granted <= min(waiting + ahead, left)
        assert admission.granted <= waiting + left // 50
        assert (admission.key_left, admission.tenant_left) == (40 - granted[key], 70 - sum(granted))
    assert max(granted) <= 40
    assert sum(granted) <= 70


def test_counters_of_one_script_are_in_one_slot_and_go_by_themselves(bare_valkey: "Redis") -> None:
    """A window later than their own; and what granted nothing leaves nothing behind."""
    bare_valkey.flushall()
    names = script_keys(asker(), 1_800_000_000, PARTITIONS)
    assert {keys.split_tag(name)[0] for name in names} == {keys.split_tag(names[0])[0]}
    assert admit(bare_valkey, asker(), RateLimits(5, 5, 60), Ask(1_800_000_000, 0, 9)) == [0, 5, 5]
    assert bare_valkey.keys("*") == []
    assert admit(bare_valkey, asker(), RateLimits(5, 5, 60), Ask(1_800_000_000, 3)) == [3, 2, 2]
    anything: Any = bare_valkey
    assert all(110 < anything.ttl(name) <= 120 for name in names)


def test_the_greatest_limits_are_exact(bare_valkey: "Redis") -> None:
    """Lua's numbers hold them."""
    bare_valkey.flushall()
    limits = RateLimits(MOST, MOST + 1, 3_600)
    assert admit(bare_valkey, asker(), limits, Ask(0, MOST - 1)) == [MOST - 1, 1, 2]
    assert admit(bare_valkey, asker(), limits, Ask(0, 5)) == [1, 0, 1]


@LAW
@given(st.integers(0, 2**53), st.integers(1, 3_600))
def test_windows_tile(now_at: int, seconds: int) -> None:
    """Each moment is in one window, and its end is so many whole seconds away that it is over by then."""
    limits = RateLimits(1, 1, seconds)
    begins, left = limits.window_at(now_at), limits.seconds_left(now_at)
    assert begins % seconds == 0
    assert begins * MICROSECONDS <= now_at < (begins + seconds) * MICROSECONDS
    assert 1 <= left <= seconds
    assert limits.window_at(now_at + left * MICROSECONDS) == begins + seconds
    assert left == 1 or limits.window_at(now_at + (left - 1) * MICROSECONDS) == begins


@LAW
@given(st.integers(1, MOST), st.integers(1, MOST), st.integers(1, 3_600), st.integers(0, MOST), st.integers(0, MOST))
def test_fields_are_read_back(key: int, tenant: int, window: int, key_left: int, tenant_left: int) -> None:
    """As structured fields: lists of strings with parameters that are integers."""
    policy = read_list(RateLimits(key, tenant, window).policy().decode())
    assert policy == {"key": {"q": key, "w": window}, "tenant": {"q": tenant, "w": window}}
    standing = read_list((STANDING % (key_left, window, tenant_left, window)).decode())
    assert standing == {"key": {"r": key_left, "t": window}, "tenant": {"r": tenant_left, "t": window}}


@pytest.mark.parametrize("value", ["", "key;q=1", '"key";q=x', '"key";q=1,', '"key" ;q=1', '"a"b"', '"key";q=-1'])
def test_the_reader_refuses_what_is_no_list(value: str) -> None:
    """Else it would show nothing."""
    with pytest.raises(ValueError, match=r".*"):
        read_list(value)


def test_some_environments_have_limits_of_their_own() -> None:
    """Each that is named has its own figures, in windows as long as everybody's; all others the usual ones."""
    usual, first, second = RateLimits(5, 8, 30), UUID(int=1), UUID(int=2)
    allowances = read_allowances(usual, f"{show('env', first)}=1/2,{show('env', second)}=300/4000")
    assert allowances.of(keys.environment_ref(first)) == RateLimits(1, 2, 30)
    assert allowances.of(keys.environment_ref(second)) == RateLimits(300, 4_000, 30)
    assert allowances.of(keys.environment_ref(UUID(int=3))) == read_allowances(usual, "").of(b"any") == usual


def test_a_refusal_says_whose_limit_it_is() -> None:
    """The key's where both are used up."""
    limits = RateLimits(5, 8, 60)
    assert why_refused(limits, 0, 7) == "This API key may send 5 requests in 60 s; the next may be sent in 7 s."
    assert why_refused(limits, 1, 7).startswith("All keys of this environment together may send 8 requests in 60 s;")
