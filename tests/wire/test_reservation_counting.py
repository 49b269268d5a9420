"""What reservations do to counters of units, as tables: openings count, ends take back, commits count what was used."""

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from msgspec import structs

from app.rules.credits import MICRO
from app.rules.pricing import GraduatedPrice, Tier
from app.wire import keys
from app.wire.snapshot import Beside
from tests.wire import reservation_models as models
from tests.wire.real_partition import PARTITION, RealPartition
from tests.wire.reservation_models import End, Reserve
from tests.wire.script_models import Memory
from tests.wire.test_reservation_cases import end_of
from tests.wire.test_script_cases import REF, loaded, rows, state

if TYPE_CHECKING:
    from redis import Redis

KEY, OTHER = UUID(int=5), UUID(int=6)
FEATURE = "f"
TIERS = GraduatedPrice((Tier(10, 3), Tier(None, 1)))

# Opened at 10, until 20, for 40 units, with 5 others counted in period 100. By the end the account is in `period`, with
# `before` counted. `after` is what is counted then, `counts` the period that the last entry names.
ENDS = """
call      | at | period | before | after | counts
commit 30 | 15 | 100    | 45     | 35    | 100
commit 0  | 15 | 100    | 45     | 5     | 100
commit 60 | 15 | 100    | 45     | 65    | 100
release   | 15 | 100    | 45     | 5     |
expire    | 20 | 100    | 45     | 5     |
expire    | 19 | 100    | 45     | 45    | 100
commit 30 | 20 | 100    | 45     | 35    | 100
commit 0  | 20 | 100    | 45     | 5     | 100
release   | 15 | 100    | 12     | 0     |
commit 30 | 15 | 100    | 12     | 30    | 100
commit 30 | 15 | 200    | 3      | 33    | 200
commit 0  | 15 | 200    | 3      | 3     | 200
release   | 15 | 200    | 3      | 3     |
commit 30 | 20 | 200    | 3      | 33    | 200
commit 30 | 15 | none   |        |       |
commit 30 | 20 | none   |        |       |
release   | 15 | none   |        |       |
"""


def in_period(client: "Redis", used: int, base: int = 1000) -> tuple[RealPartition, Memory]:
    """Both sides with an account in period 100 until 300, in which so many units are counted."""
    beside = Beside(0, 0, 100, [(FEATURE, used * MICRO)], 300)
    return loaded(client, structs.replace(state(base), beside=beside))


def counter(real: RealPartition) -> int | None:
    """Units that are counted; None = there is no counter."""
    found = real.client.hget(keys.used(PARTITION, REF), FEATURE)
    return None if found is None else int(found) // MICRO


def move(real: RealPartition, memory: Memory, period: str, before: str) -> None:
    """What a publish may have left meanwhile."""
    account, used = keys.account(PARTITION, REF), keys.used(PARTITION, REF)
    if period == "none":
        real.client.hdel(account, "period", "resets_at")
        real.client.delete(used)
        memory.accounts[REF].period = memory.accounts[REF].resets_at = None
        del memory.used[REF]
    else:
        real.client.hset(account, "period", period)
        real.client.hset(used, FEATURE, int(before) * MICRO)
        memory.accounts[REF].period, memory.used[REF] = int(period), {FEATURE: int(before) * MICRO}


@pytest.mark.parametrize("row", rows(ENDS), ids=" ".join)
def test_ends(bare_valkey: "Redis", row: list[str]) -> None:
    """An end takes its opening's units out of the period that they are in; a commit counts in the present one."""
    words, at, period, before, after, counts = row
    real, memory = in_period(bare_valkey, 5)
    call = Reserve(REF, KEY, 10, "s", 100, units_micro=40 * MICRO, counted=True)
    assert real.reserve(call) == models.reserve(memory, call) == [b"ok", b"+100:900:20"]
    assert counter(real) == 45
    move(real, memory, period, before)
    ending = end_of(words, int(at))
    ending = replace(ending, units_micro=ending.used * MICRO)
    assert real.end(ending) == models.end(memory, ending)
    assert counter(real) == (int(after) if after else None)
    last = real.client.xrevrange(keys.stream(PARTITION), count=1)[0][1]
    assert last.get(b"s", b"").decode() == counts
    found, expected = real.observe(memory, [REF], ())
    assert found == expected


# At a limit of 10 with `used` counted, and what can be spent; `due` = another reservation is past due.
OPENINGS = """
used | units | balance | due | answer
6    | 4     | 1000    | no  | ok +100:900:20
6    | 5     | 1000    | no  | ok !100:1000:6000000:10000000:300
6    | 5     | 20      | no  | ok !100:20:6000000:10000000:300
6    | 4     | 20      | no  | ok -100:20
6    | 5     | 1000    | yes | due
6    | 4     | 1000    | yes | ok +100:900:20
"""


@pytest.mark.parametrize("row", rows(OPENINGS), ids=" ".join)
def test_openings(bare_valkey: "Redis", row: list[str]) -> None:
    """The limit comes before credit, and nobody is refused for it while something is past due."""
    used, units, balance, due, answer = row
    real, memory = in_period(bare_valkey, int(used), int(balance))
    if due == "yes":
        first = Reserve(REF, OTHER, 1, "s", 0, 1, units_micro=0, counted=True)
        assert real.reserve(first) == models.reserve(memory, first)
    call = Reserve(REF, KEY, 10, "s", 100, units_micro=int(units) * MICRO, counted=True, limit=10 * MICRO)
    said = models.reserve(memory, call)
    assert real.reserve(call) == said
    assert [part.decode() for part in said][: len(answer.split())] == answer.split()
    if answer.startswith("ok"):
        assert real.reserve(call) == models.reserve(memory, call) == [b"seen", b"f", said[1]]


def test_a_commit_is_priced_without_its_own_opening(bare_valkey: "Redis") -> None:
    """Its place in the tiers is after what others have used by then: not after what it had itself reserved."""
    real, memory = in_period(bare_valkey, 8)
    opening = Reserve(REF, KEY, 10, "s", 0, units_micro=40 * MICRO, graduated=TIERS)
    assert real.reserve(opening) == models.reserve(memory, opening) == [b"ok", b"+44:956:20"]
    ending = End(REF, KEY, 15, "committed", asked="4", graduated=TIERS, units_micro=4 * MICRO)
    assert real.end(ending) == models.end(memory, ending) == [b"ok", b"8:36:992:0"]
    assert counter(real) == 12
