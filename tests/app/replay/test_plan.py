"""What follows from a file: users, keys, events and batches."""

from collections import Counter
from fractions import Fraction
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from app.replay.parsing import Row, Trace
from app.replay.plan import (
    USERS,
    UsageEvent,
    count_events,
    end_user_id,
    list_users,
    plan_batches,
    plan_events,
)

DIGEST = "0123456789abcdef" * 4
FIRST_USERS = ["user_52", "user_74", "user_571", "user_28", "user_25"]
tokens = st.integers(0, 3)
traces = st.lists(st.tuples(tokens, tokens), max_size=30).map(
    lambda counts: Trace(DIGEST, [Row(number, *pair) for number, pair in enumerate(counts)])
)


@given(st.integers(0, 10**12))
def test_a_rows_user_is_the_cube_of_its_share_exactly(number: int) -> None:
    """The integers say the same as fractions do."""
    share = Fraction(int.from_bytes(sha256(b"%d" % number).digest()[:8], "big"), 2**64)
    assert end_user_id(number) == f"user_{USERS * share**3 // 1}"


def test_few_users_are_heavy() -> None:
    """A tenth of all rows is user_0's; users stay what they were."""
    rows_of = Counter(map(end_user_id, range(10_000)))
    assert [end_user_id(number) for number in range(5)] == FIRST_USERS
    assert 900 < rows_of["user_0"] < 1100
    assert rows_of.keys() <= {f"user_{number}" for number in range(USERS)}


def test_a_row_is_two_events() -> None:
    """One a feature, under keys that name file, row and feature; nothing used is no event."""
    trace = Trace(DIGEST, [Row(0, 374, 44), Row(1, 0, 7)])
    assert list(plan_events(trace)) == [
        UsageEvent(end_user_id(0), "input_tokens", 374, "0123456789ab:0:input_tokens"),
        UsageEvent(end_user_id(0), "output_tokens", 44, "0123456789ab:0:output_tokens"),
        UsageEvent(end_user_id(1), "output_tokens", 7, "0123456789ab:1:output_tokens"),
    ]


@given(traces, st.integers(1, 10))
def test_batches_hold_every_event_once(trace: Trace, size: int) -> None:
    """In order, full but for the last; the counts that are shown are theirs."""
    batches = list(plan_batches(trace, size))
    events = list(plan_events(trace))
    assert [event for batch in batches for event in batch] == events
    assert all(len(batch) == size for batch in batches[:-1])
    assert count_events(trace) == len(events) == len({event.idempotency_key for event in events})
    assert {event.end_user_id for event in events} <= set(list_users(trace))
    assert sum(event.units for event in events) == sum(row.input_tokens + row.output_tokens for row in trace.rows)
