"""The hash chain: whoever changes anything changes every hash after it."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from app.rules.chain import GENESIS, ChainedEvent, ChainedTransaction, events_digest, text_digest, transaction_hash
from tests.rules.laws import LAW

ids, digests = st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32)
micros, moments = st.integers(-(2**62), 2**62), st.integers(0, 2**53 - 1)
lines = st.lists(st.tuples(st.text(max_size=8), micros), max_size=4)
transactions = st.builds(
    ChainedTransaction,
    environment_id=ids,
    account_id=ids,
    seq=st.integers(1, 10**9),
    transaction_id=ids,
    kind=st.sampled_from(["usage", "grant", "expiry"]),
    actor_digest=digests,
    reason_digest=st.none() | digests,
    idempotency_key_digest=st.none() | digests,
    total_before_micro=micros,
    total_after_micro=micros,
    posted_at=moments,
    lines=lines,
    events_digest=st.none() | digests,
)
events = st.builds(
    ChainedEvent,
    event_id=ids,
    feature_key=st.text(max_size=8),
    units_micro=micros,
    cost_micro=micros,
    debt_micro=micros,
    price_id=ids,
    occurred_at=moments,
    accepted_at=moments,
    draws=st.text(max_size=8),
    properties_digest=st.none() | digests,
    idempotency_key_digest=st.none() | digests,
)


@LAW
@given(transactions, transactions, digests)
def test_every_field_counts(transaction: ChainedTransaction, other: ChainedTransaction, previous: bytes) -> None:
    """Taking any one field from another transaction changes the hash, unless the field is the same."""
    before = transaction_hash(previous, transaction)
    for field in transaction.__struct_fields__:
        value = getattr(other, field)
        changed = structs.replace(transaction, **{field: value})
        assert (transaction_hash(previous, changed) == before) == (getattr(transaction, field) == value), field


@LAW
@given(transactions, digests)
def test_the_predecessor_counts(transaction: ChainedTransaction, previous: bytes) -> None:
    """The same transaction after another one has another hash."""
    assert previous == GENESIS or transaction_hash(previous, transaction) != transaction_hash(GENESIS, transaction)


@LAW
@given(st.lists(events, min_size=1, max_size=4, unique_by=lambda event: event.event_id), events, st.integers(0, 3))
def test_every_field_of_every_event_counts(batch: list[ChainedEvent], other: ChainedEvent, index: int) -> None:
    """Taking any one field of any event from another one changes the digest of all."""
    before, index = events_digest(batch), index % len(batch)
    for field in other.__struct_fields__:
        value = getattr(other, field)
        changed = [*batch]
        changed[index] = structs.replace(batch[index], **{field: value})
        assert (events_digest(changed) == before) == (getattr(batch[index], field) == value), field


@LAW
@given(st.lists(events, max_size=5, unique_by=lambda event: event.event_id), st.randoms(use_true_random=False))
def test_order_of_events_does_not_count(batch: list[ChainedEvent], random: Random) -> None:
    """Rows come back from the database in any order; leaving one out is noticed."""
    shuffled = [*batch]
    random.shuffle(shuffled)
    assert events_digest(shuffled) == events_digest(batch)
    assert not batch or events_digest(batch[1:]) != events_digest(batch)


def test_an_absent_text_is_not_an_empty_one() -> None:
    """None has no digest; the empty text has one."""
    assert text_digest(None) is None
    assert text_digest("") != text_digest("0")
    assert text_digest("") is not None
