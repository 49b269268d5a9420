"""What a test clock does to an account in Redis: its time is the clock's, whatever the time is for whoever asks."""

from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from msgspec import structs

from app.rules.moments import NEVER_AT
from app.wire import keys
from app.wire.snapshot import AccountState
from tests.wire import reservation_models
from tests.wire import script_models as models
from tests.wire.gauge_models import Acquire, Look, Release
from tests.wire.real_partition import ENVIRONMENT, PARTITION, RealPartition
from tests.wire.reservation_models import End, Extend, Reserve
from tests.wire.script_models import Accept, Memory, Retry, SetClock
from tests.wire.test_script_cases import REF, TOKEN, loaded, rows, state

if TYPE_CHECKING:
    from redis import Redis

KEY, OTHER, EVENT = UUID(int=5), UUID(int=6), UUID(int=7)


def frozen_account(
    client: "Redis", frozen_at: int, figures: AccountState | None = None
) -> tuple[RealPartition, Memory]:
    """Both sides with an account whose test clock was set after it was loaded."""
    real, memory = loaded(client, state(1000) if figures is None else figures)
    call = SetClock(REF, frozen_at, TOKEN)
    assert real.set_clock(call) == models.set_clock(memory, call)
    return real, memory


def dates(real: RealPartition) -> list[int]:
    """Of all entries."""
    return [int(fields[b"t"]) for _, fields in real.client.xrange(keys.stream(PARTITION))]


@pytest.mark.parametrize("now_at", [3, 20, 900])
def test_everything_is_dated_by_the_clock(bare_valkey: "Redis", now_at: int) -> None:
    """Whatever time it is for the caller, each script that appends an entry dates it with the account's test clock."""
    real, _ = frozen_account(bare_valkey, 20)
    assert real.acquire(Acquire(REF, now_at, "s", "seats", "x", for_at=5)) == [b"ok", 1, 25]
    assert real.look(Look(REF, 900, ("seats",))) == [[b"1", b"s"], [b"1"]]
    assert real.release(Release(REF, now_at, "s", "seats", "x")) == [b"ok", 1, 0]
    assert real.retry(Retry(REF, EVENT, now_at, 1, b"1-1")) == b"retried"
    reserve = Reserve(REF, KEY, 20, "s", 10, lasts=10)
    assert real.reserve(reserve) == [b"ok", b"+10:989:31"]
    assert real.extend(Extend(REF, KEY, now_at, 15)) == [b"ok", b"36"]
    assert real.end(End(REF, KEY, now_at, "released")) == [b"ok", b"0:10:999:0"]
    assert real.order(REF, now_at, b"") == b"ok"
    assert dates(real) == [20, 20, 20, 21, 21, 21, 21]


# The clock stands at 20, and the last entry is dated `last`. `until` is the moment from which another price holds.
ASKED = """
now | last | until | answer
20  | 0    | never | ok +1:999:0
19  | 0    | never | frozen 20
21  | 0    | never | frozen 20
900 | 0    | never | frozen 20
20  | 0    | 20    | reprice 20
20  | 23   | 23    | reprice 23
22  | 23   | never | ok +1:999:0
23  | 23   | never | ok +1:999:0
24  | 23   | never | frozen 20
"""


@pytest.mark.parametrize("row", rows(ASKED), ids=" ".join)
def test_a_price_is_chosen_by_the_clock(bare_valkey: "Redis", row: list[str]) -> None:
    """Usage that was priced as of another time than the account's, earlier or later, is priced anew."""
    now, last, until, answer = row
    real, memory = frozen_account(bare_valkey, 20, structs.replace(state(1000), posted_at=int(last)))
    until_at = NEVER_AT if until == "never" else int(until)
    call = Accept(REF, EVENT, int(now), "s", 1, until_at=until_at)
    assert real.accept(call) == models.accept(memory, call) == [word.encode() for word in answer.split()]


def test_a_clock_never_goes_back(bare_valkey: "Redis") -> None:
    """Whoever brings an earlier moment, late, changes nothing; a boundary that the clock passes is ticked, once."""
    real, memory = frozen_account(bare_valkey, 20, structs.replace(state(1000), valid_until=25))
    for at, answer in ((10, b"early"), (24, b"early"), (25, b"wait"), (30, b"wait"), (7, b"wait")):
        call = SetClock(REF, at, TOKEN)
        assert real.set_clock(call) == models.set_clock(memory, call) == answer
    assert real.client.hget(keys.account(PARTITION, REF), "frozen") == b"30"
    assert dates(real) == [25]


def test_a_load_under_way_starts_again(bare_valkey: "Redis") -> None:
    """A load that may have read where the clock stood before is refused."""
    real, memory = RealPartition(bare_valkey), Memory(meta={"incarnation": "1f"})
    real.client.hset(keys.meta(PARTITION), "incarnation", "1f")
    assert real.load_begin(REF, TOKEN) == models.load_begin(memory, REF, TOKEN)
    call = SetClock(REF, 20, b"token-2")
    assert real.set_clock(call) == models.set_clock(memory, call) == b"miss"
    load = models.Load(state(1000), TOKEN, "1f")
    assert real.load(load) == models.load(memory, load) == b"refused"


def test_nobody_expires_what_is_on_a_test_clock(bare_valkey: "Redis") -> None:
    """By the real time it is never past due: what was opened before the clock stood as little as what was after."""
    real, memory = loaded(bare_valkey, state(1000))
    first = Reserve(REF, KEY, 10, "s", 100, lasts=10)
    assert real.reserve(first) == reservation_models.reserve(memory, first)
    clock, second = SetClock(REF, 15, TOKEN), Reserve(REF, OTHER, 15, "s", 100, lasts=10)
    assert real.set_clock(clock) == models.set_clock(memory, clock) == b"early"
    assert real.reserve(second) == reservation_models.reserve(memory, second) == [b"ok", b"+100:800:25"]
    members = [keys.due_member(ENVIRONMENT, key) for key in (KEY, OTHER)]
    assert real.client.zrangebyscore(keys.due(PARTITION), "-inf", 900) == members[:1]
    for answer in (b"apart", b"open"):
        expiry = End(REF, KEY, 900, "expired")
        assert real.end(expiry) == reservation_models.end(memory, expiry) == [answer]
    assert real.client.zrangebyscore(keys.due(PARTITION), "-inf", 900) == []
    refused = Reserve(REF, UUID(int=8), 15, "s", 5000)
    assert real.reserve(refused) == reservation_models.reserve(memory, refused) == [b"ok", b"-5000:800"]
    for at, key in ((20, KEY), (25, OTHER)):
        assert real.set_clock(SetClock(REF, at, TOKEN)) == b"early"
        assert real.end(End(REF, key, 3, "expired")) == [b"ok", b"0:100:%d:0" % (900 if key == KEY else 1000)]
    assert dates(real) == [10, 15, 20, 25]
    assert real.client.zcard(keys.due(PARTITION)) == 0
