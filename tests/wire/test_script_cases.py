"""Scripts at their very edges, as tables: what random programs meet too seldom, and what only a reader can judge."""

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from msgspec import structs

from app.rules.moments import NEVER_AT
from app.rules.totals import wrap
from app.wire import keys
from app.wire.events import EntryKind, StreamEntry, UsagePayload, encode_usage, parse_entry, parse_stream_id
from app.wire.snapshot import AccountState, Beside
from tests.wire import script_models as models
from tests.wire.real_partition import ENVIRONMENT, PARTITION, WINDOW_MILLISECONDS, RealPartition
from tests.wire.script_models import Accept, Load, Memory, NotePublished, Publish

if TYPE_CHECKING:
    from redis import Redis

REF, EVENT, TOKEN, INCARNATION = b"a", UUID(int=1), b"token", "1f"
TOKEN_SECONDS = 60
NO_EXPIRY = -1
"""What TTL answers for a key that never fades."""

# `pending` is accepted - applied. `lowest` is an argument of accept.lua: floor = the account's, -50; none = no bound.
CASES = """
             base |           pending |             cost | enforce lowest | answer
             1000 |                 0 |               10 | no      floor  | +10:990:0
             1000 |               995 |               10 | no      floor  | +10:-5:5
             1000 |              1000 |               10 | no      floor  | +10:-10:10
             1000 |              1020 |               10 | no      floor  | +10:-30:10
             1000 |              -100 |               10 | no      floor  | +10:1090:0
             1000 |                 0 |                0 | yes     floor  | +0:1000:0
              -60 |                 0 |                0 | yes     floor  | +0:-60:0
             1000 |                 0 |             1050 | yes     floor  | +1050:-50:50
             1000 |                 0 |             1051 | yes     floor  | -1051:1000
             1000 |                 0 |             1001 | yes     0      | -1001:1000
             1000 |                 0 |             1000 | yes     0      | +1000:0:0
             1000 |               600 |              401 | yes     0      | -401:400
             1000 |                 0 |             9999 | yes     none   | +9999:-8999:8999
                0 |  1125899906842622 |                1 | no      floor  | +1:-1125899906842623:1
                0 |  1125899906842623 |                1 | no      floor  | backlog
                0 |  2251799813685247 |                0 | no      floor  | backlog
                0 | -2251799813685248 |                1 | no      floor  | +1:2251799813685247:0
-9007199254740988 |                 0 |                2 | no      floor  | +2:-9007199254740990:2
-9007199254740988 |                 0 |                3 | no      floor  | range
 9007199254740991 |                 0 | 1000000000000000 | yes     floor  | +1000000000000000:8007199254740991:0
"""


def state(base_micro: int = 0, applied_micro: int = 0, revision: int = 1) -> AccountState:
    """An account without boundaries."""
    return AccountState(REF, revision, base_micro, applied_micro, NEVER_AT, 0, "s", "none", -50)


def loaded(client: "Redis", figures: AccountState, pending: int = 0) -> tuple[RealPartition, Memory]:
    """Both sides with one account, of which `pending` is accepted and not yet applied."""
    real, memory = RealPartition(client), Memory(meta={"incarnation": INCARNATION})
    real.client.hset(keys.meta(PARTITION), mapping=memory.meta)
    load = Load(figures, TOKEN, INCARNATION)
    assert real.load_begin(REF, TOKEN) == models.load_begin(memory, REF, TOKEN)
    assert real.load(load) == models.load(memory, load) == b"loaded"
    memory.accounts[REF].accepted = wrap(figures.applied_micro + pending)
    real.client.hset(keys.account(PARTITION, REF), "accepted", memory.accounts[REF].accepted)
    return real, memory


def rows(table: str) -> list[list[str]]:
    """Cells of a text table, without its head."""
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()[1:]]


@pytest.mark.parametrize("row", rows(CASES), ids=" ".join)
def test_accept(bare_valkey: "Redis", row: list[str]) -> None:
    """What is answered for a balance and a cost."""
    base, pending, cost, mode, expected = row
    enforce, lowest = mode.split()
    real, memory = loaded(bare_valkey, state(int(base)), int(pending))
    call = Accept(
        REF, EVENT, 5, "s", int(cost), enforce=enforce == "yes", lowest={"floor": "", "none": "-"}.get(lowest, lowest)
    )
    answer = [expected.encode()] if expected[0] in "br" else [b"ok", expected.encode()]
    assert real.accept(call) == models.accept(memory, call) == answer


# Of the feature `f`, with 60 credits. `asked` is units at a cost; limit none = counted without one; `most` is what a
# double counts to.
LIMITS = """
used   | limit | asked                 | enforce | used after | answer
0      | 10    | 10 at 1               | yes     | 10         | +1:59:0
0      | 10    | 11 at 1               | yes     | 0          | !1:60:0:10:900
7      | 10    | 3 at 1                | yes     | 10         | +1:59:0
7      | 10    | 4 at 1                | yes     | 7          | !1:60:7:10:900
7      | 10    | 4 at 999              | yes     | 7          | !999:60:7:10:900
7      | 10    | 3 at 999              | yes     | 7          | -999:60
7      | 10    | 4 at 1                | no      | 11         | +1:59:0
12     | 10    | 1 at 0                | yes     | 12         | !0:60:12:10:900
7      | none  | 4 at 1                | yes     | 11         | +1:59:0
7      | 0     | 1 at 0                | yes     | 7          | !0:60:7:0:900
most-2 | most  | 2 at 0                | yes     | most       | +0:60:0
most-2 | most  | 3 at 0                | yes     | most-2     | !0:60:most-2:most:900
most-2 | none  | 1000000000000000 at 0 | yes     | most       | +0:60:0
"""


@pytest.mark.parametrize("row", rows(LIMITS), ids=" ".join)
def test_limits(bare_valkey: "Redis", row: list[str]) -> None:
    """The limit comes before credit, binds enforced usage alone, and counting goes on to where doubles end."""
    most = [cell.replace("most-2", str(NEVER_AT - 2)).replace("most", str(NEVER_AT)) for cell in row]
    used, limit, asked, enforce, after, expected = most
    units, cost = map(int, asked.split(" at "))
    counted = structs.replace(state(60), floor_micro=0, beside=Beside(0, 0, 100, [("f", int(used))], 900))
    real, memory = loaded(bare_valkey, counted)
    call = Accept(REF, EVENT, 5, "s", cost, enforce=enforce == "yes", counted=True, units_micro=units)
    call = replace(call, limit=None if limit == "none" else int(limit))
    assert real.accept(call) == models.accept(memory, call) == [b"ok", expected.encode()]
    assert real.client.hget(keys.used(PARTITION, REF), "f") == after.encode()
    assert real.accept(call) == models.accept(memory, call) == [b"seen", b"\x01f" + expected.encode()]


def test_a_new_period_begins_with_what_the_ledger_counted(bare_valkey: "Redis") -> None:
    """Also while something is under way; in the same period only a quiet publish replaces counters."""
    before, same, after = (Beside(0, 0, start, [("f", used)], 900) for start, used in ((100, 3), (100, 5), (200, 1)))
    real, _ = loaded(bare_valkey, structs.replace(state(60), beside=before))
    assert real.accept(Accept(REF, EVENT, 5, "s", 1, counted=True, units_micro=4))[0] == b"ok"
    for revision, beside, cursor, used in (
        (2, same, (0, 0), b"7"),
        (3, after, (0, 0), b"1"),
        (4, same, (1 << 50, 0), b"5"),
    ):
        figures = structs.replace(state(60, 1, revision), beside=beside)
        assert real.publish(Publish(figures, INCARNATION, cursor, b"")) == b"published"
        assert real.client.hgetall(keys.used(PARTITION, REF)) == {b"f": used}
    assert real.publish(Publish(state(60, 1, 5), "", (0, 0), b"")) == b"published"
    assert real.client.hgetall(keys.used(PARTITION, REF)) == {}
    assert real.client.hmget(keys.account(PARTITION, REF), "period", "resets_at") == [None, None]


@pytest.mark.parametrize(
    ("last_id", "cursor", "heals"),
    rows("""
    last entry      | cursor          | heals
    9-5             | 9-5             | yes
    9-5             | 9-4             | no
    9-5             | 10-2            | yes
    10-2            | 9-5             | no
    9-9             | 9-10            | yes
    9-10            | 9-9             | no
    999-0           | 1000-0          | yes
    1000-0          | 999-18446744073 | no
    0-0             | 0-0             | yes
    """),
)
def test_quiet_heals(bare_valkey: "Redis", last_id: str, cursor: str, heals: str) -> None:
    """A publish at or past the account's last entry sets accepted = applied; ids order as numbers, not as texts."""
    real, _ = loaded(bare_valkey, state(500), pending=70)
    real.client.hset(keys.account(PARTITION, REF), "last_id", last_id)
    cursor_id = tuple(map(int, cursor.split("-")))
    publish = Publish(state(400, 100, revision=2), INCARNATION, (cursor_id[0], cursor_id[1]), b"")
    assert real.publish(publish) == b"published"
    assert real.client.hget(keys.account(PARTITION, REF), "accepted") == (b"100" if heals == "yes" else b"70")


def test_marks_and_tokens_fade(bare_valkey: "Redis") -> None:
    """A stored answer lives as long as the idempotency window, a load token for a minute; state lives for ever."""
    real, _ = loaded(bare_valkey, state(500))
    assert real.accept(Accept(REF, EVENT, 5, "s", 1))[0] == b"ok"
    assert 0 < real.client.pttl(keys.seen(PARTITION, ENVIRONMENT, EVENT)) <= WINDOW_MILLISECONDS
    other = structs.replace(state(), ref=b"b")
    assert real.load_begin(other.ref, TOKEN)[0] == b"begun"
    assert 0 < real.client.ttl(keys.load_token(PARTITION, other.ref)) <= TOKEN_SECONDS
    assert real.publish(Publish(other, "", (0, 0), b"new")) == b"absent"
    assert real.client.get(keys.load_token(PARTITION, other.ref)) == b"new"
    assert 0 < real.client.ttl(keys.load_token(PARTITION, other.ref)) <= TOKEN_SECONDS
    for key in (keys.account(PARTITION, REF), keys.stream(PARTITION), keys.meta(PARTITION)):
        assert real.client.ttl(key) == NO_EXPIRY


def test_entry_is_readable(bare_valkey: "Redis") -> None:
    """What accept and tick append is what `wire.events` parses."""
    real, _ = loaded(bare_valkey, structs.replace(state(500), valid_until=9, beside=Beside(period_at=4, resets_at=9)))
    payload = UsagePayload(EVENT, "tokens", 3, UUID(int=2), None, "key", None)
    counted = Accept(REF, EVENT, 5, "s", 7, encode_usage(payload), counted=True, units_micro=3)
    assert real.accept(counted)[0] == b"ok"
    assert real.tick(REF, 9) == b"wait"
    usage, tick = [parse_entry(*entry) for entry in real.client.xrange(keys.stream(PARTITION))]
    assert usage == StreamEntry(usage.stream_id, REF, EntryKind.USAGE, 5, 1, 7, payload, period_at=4)
    assert tick == StreamEntry(tick.stream_id, REF, EntryKind.TICK, 9, 1, 0, None)


def test_trimming_spares_what_is_kept(bare_valkey: "Redis") -> None:
    """Age trims nothing younger than asked; too many entries trim all before the cursor, and nothing after it."""
    real, _ = loaded(bare_valkey, state(500))
    ids = [real.client.xadd(keys.stream(PARTITION), {"a": "b"}) for _ in range(300)]
    note = NotePublished(INCARNATION, parse_stream_id(ids[250]), parse_stream_id(ids[150]), 1_000_000)
    assert real.note_published(note) == 1
    assert [entry[0] for entry in real.client.xrange(keys.stream(PARTITION))][-150:] == ids[150:]
    assert real.note_published(replace(note, most_kept=100)) == 1
    assert [entry[0] for entry in real.client.xrange(keys.stream(PARTITION))] == ids[250:]
