"""Reservations at their very edges, as a table: what an end costs, and what it leaves in the account and the hash."""

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from msgspec import structs

from app.rules.moments import NEVER_AT
from app.wire import keys
from app.wire.events import StreamEntry, UsagePayload, encode_usage, parse_entry
from app.wire.reservations import (
    ReservationEnd,
    ReservationExtension,
    ReservationOpening,
    ReservationState,
    encode_change,
)
from tests.wire import reservation_models as models
from tests.wire.real_partition import ENVIRONMENT, PARTITION, WINDOW_MILLISECONDS, RealPartition
from tests.wire.reservation_models import End, Extend, Reserve
from tests.wire.script_models import Memory
from tests.wire.test_script_cases import REF, loaded, rows, state

if TYPE_CHECKING:
    from redis import Redis

KEY, PRICE = UUID(int=5), UUID(int=2)
NO_EXPIRY = -1
"""What TTL answers for a key that never fades."""

# Opened at 10 for 100 of 1000, until 20; `boundary` is the account's at the opening, `order` whether one came since.
# `costs` are those of the entries after the opening, `left` is what can be spent according to the edge.
CASES = """
call           | at | boundary | order | answer                    | costs    | left
commit 70      | 15 | never    | no    | ok 70:30:930:0            | -30      | 930
commit 100     | 15 | never    | no    | ok 100:0:900:0            | 0        | 900
commit 130     | 15 | never    | no    | ok 130:0:870:0            | 30       | 870
commit 1200    | 15 | never    | no    | ok 1200:0:-200:0          | 1100     | -200
commit 0       | 15 | never    | no    | ok 0:100:1000:0           | -100     | 1000
release        | 15 | never    | no    | ok 0:100:1000:0           | -100     | 1000
release        | 19 | 20       | no    | ok 0:100:1000:0           | -100     | 1000
release        | 15 | 15       | no    | ok 0:100:900:0            | 0        | 900
commit 70      | 15 | 15       | no    | ok 70:30:900:0            | 0        | 900
commit 70      | 14 | 15       | no    | ok 70:30:930:0            | -30      | 930
commit 130     | 15 | 15       | no    | ok 130:0:870:0            | 30       | 870
release        | 15 | never    | yes   | ok 0:100:900:0            | 0        | 900
commit 130     | 15 | never    | yes   | ok 130:0:870:0            | 30       | 870
expire         | 19 | never    | no    | open                      |          | 900
expire         | 20 | never    | no    | ok 0:100:1000:0           | -100     | 1000
expire         | 20 | 20       | no    | ok 0:100:900:0            | 0        | 900
release        | 20 | never    | no    | ended expired             | -100     | 1000
commit 70      | 20 | never    | no    | ok 70:0:930:1             | -100, 70 | 930
commit 70      | 20 | 20       | no    | ok 70:0:830:1             | 0, 70    | 830
commit 0       | 20 | never    | no    | ok 0:0:1000:1             | -100, 0  | 1000
"""


def opened(client: "Redis", boundary: str = "never", *, is_ordered: bool = False) -> tuple[RealPartition, Memory]:
    """Both sides with an account that has one open reservation."""
    valid_until = NEVER_AT if boundary == "never" else int(boundary)
    real, memory = loaded(client, structs.replace(state(1000), valid_until=valid_until))
    call = Reserve(REF, KEY, 10, "s", 100, payload=b"opening")
    assert real.reserve(call) == models.reserve(memory, call) == [b"ok", b"+100:900:20"]
    if is_ordered:
        assert real.order(REF, 11, b"") == b"ok"
        account = memory.accounts[REF]
        memory.newest_id = account.ordered_id = account.order_id = (memory.newest_id[0], memory.newest_id[1] + 1)
        account.last_at = 11
    return real, memory


def end_of(words: str, at: int) -> End:
    """The call that a row names."""
    name, *amount = words.split()
    verb = {"commit": "committed", "release": "released", "expire": "expired"}[name]
    used = int(amount[0]) if amount else 0
    return End(REF, KEY, at, verb, used, str(used) if amount else "")


@pytest.mark.parametrize("row", rows(CASES), ids=" ".join)
def test_ends(bare_valkey: "Redis", row: list[str]) -> None:
    """What is answered, which entries there are, and what can be spent."""
    words, at, boundary, order, answer, costs, left = row
    real, memory = opened(bare_valkey, boundary, is_ordered=order == "yes")
    call = end_of(words, int(at))
    said = models.end(memory, call)
    assert real.end(call) == said == [word.encode() for word in answer.split()]
    entries = [fields for _, fields in real.client.xrange(keys.stream(PARTITION)) if fields[b"k"] != b"o"]
    assert [int(fields[b"c"]) for fields in entries[1:]] == [int(cost) for cost in costs.split(",") if cost]
    assert memory.accounts[REF].available == int(left)
    account = real.client.hgetall(keys.account(PARTITION, REF))
    is_open = answer == "open"
    assert (account[b"reserved"], account[b"open"]) == ((b"100", b"1") if is_open else (b"0", b"0"))
    ttl = real.client.pttl(keys.reservation(PARTITION, ENVIRONMENT, KEY))
    assert ttl == NO_EXPIRY if is_open else 0 < ttl <= WINDOW_MILLISECONDS
    assert real.client.zcard(keys.due(PARTITION)) == is_open


def test_a_skewed_clock_ends_nothing_early(bare_valkey: "Redis") -> None:
    """The account's clock decides, not that of the edge that asks: an edge ahead expires, and none behind revives."""
    real, memory = opened(bare_valkey)
    late = replace(end_of("release", 20))
    assert real.end(late) == models.end(memory, late) == [b"ended", b"expired"]
    early = end_of("commit 70", 1)
    assert real.end(early) == models.end(memory, early) == [b"ok", b"70:0:930:1"]
    accepted = [int(fields[b"t"]) for _, fields in real.client.xrange(keys.stream(PARTITION))]
    assert accepted == [10, 20, 20]


def test_one_accounts_clock_ends_nothing_of_others(bare_valkey: "Redis") -> None:
    """What is past due is so by the clock of who asks; the account's own may be ahead, and names nothing."""
    real, memory = opened(bare_valkey)
    real.client.hset(keys.account(PARTITION, REF), "last_at", 50)
    memory.accounts[REF].last_at = 50
    early, late = (Reserve(REF, UUID(int=number), number, "s", 5000, payload=b"opening") for number in (19, 20))
    member = keys.due_member(ENVIRONMENT, KEY)
    assert real.reserve(late) == models.reserve(memory, late) == [b"due", member]
    assert real.reserve(early) == models.reserve(memory, early) == [b"ok", b"-5000:900"]


def test_entries_are_readable(bare_valkey: "Redis") -> None:
    """What the scripts append is what `wire.events` parses, with what the scripts decided."""
    real, _ = loaded(bare_valkey, state(1000))
    base = {"reservation_id": KEY, "feature_key": "tokens"}
    opening = ReservationOpening(**base, units_micro=3, in_credits=False, price_id=PRICE, idempotency_key="k")
    extension = ReservationExtension(**base)
    expiry = ReservationEnd(**base, state=ReservationState.EXPIRED)
    usage = UsagePayload(KEY, "tokens", 0, PRICE, None, None, None)
    assert real.reserve(Reserve(REF, KEY, 10, "s", 100, payload=encode_change(opening)))[0] == b"ok"
    assert real.extend(Extend(REF, KEY, 15, 10, encode_change(extension))) == [b"ok", b"25"]
    late = End(REF, KEY, 25, "committed", 70, "70", b"", encode_change(expiry), encode_usage(usage))
    assert real.end(late) == [b"ok", b"70:0:930:1"]
    entries = [parse_entry(*entry) for entry in real.client.xrange(keys.stream(PARTITION))]
    assert all(isinstance(entry, StreamEntry) for entry in entries), entries
    changes = [entry.reservation for entry in entries if isinstance(entry, StreamEntry)]
    assert changes == [structs.replace(opening, expires_at=20), structs.replace(extension, expires_at=25), expiry, None]
    assert isinstance(entries[-1], StreamEntry)
    assert (entries[-1].payload, entries[-1].cost_micro) == (usage, 70)


def test_a_refusal_fades_and_an_open_reservation_does_not(bare_valkey: "Redis") -> None:
    """402s live for the idempotency window; what is open lives until it has ended."""
    real, _ = opened(bare_valkey)
    refused = UUID(int=6)
    assert real.reserve(Reserve(REF, refused, 10, "s", 2000)) == [b"ok", b"-2000:900"]
    assert 0 < real.client.pttl(keys.reservation(PARTITION, ENVIRONMENT, refused)) <= WINDOW_MILLISECONDS
    assert real.client.ttl(keys.reservation(PARTITION, ENVIRONMENT, KEY)) == NO_EXPIRY
    assert real.client.ttl(keys.due(PARTITION)) == NO_EXPIRY
