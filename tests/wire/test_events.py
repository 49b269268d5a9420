"""Entries of the stream: what is written is read back, and whatever else stands there is rejected, never an error."""

from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.credits import MAX_COST_MICRO, MAX_UNITS_MICRO
from app.rules.moments import NEVER_AT
from app.wire.events import (
    NO_PRICE,
    EntryKind,
    Rejection,
    StreamEntry,
    UnreadableEntry,
    UsagePayload,
    encode_rejection,
    encode_usage,
    parse_entry,
    parse_stream_id,
    show_stream_id,
    usage_of,
)
from tests.rules.laws import LAW

MAX_BIGINT = 2**63 - 1
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
payloads = st.builds(
    UsagePayload,
    event_id=st.uuids(),
    feature_key=texts,
    units_micro=st.integers(0, MAX_UNITS_MICRO),
    price_id=st.uuids(),
    occurred_at=st.none() | st.integers(0, NEVER_AT),
    idempotency_key=st.none() | texts,
    properties=st.none() | texts,
)
moments, costs, revisions = st.integers(0, NEVER_AT), st.integers(0, MAX_COST_MICRO), st.integers(0, 2**40)
stream_ids = st.tuples(st.integers(0, 2**48), st.integers(0, 2**20))
GOOD = UsagePayload(UUID(int=1), "tokens", 5, UUID(int=2), None, None, None)


def fields_of(payload: UsagePayload = GOOD, **others: bytes) -> dict[bytes, bytes]:
    """The fields of a usage entry, some of them replaced."""
    fields = {b"a": b"ref", b"k": b"u", b"t": b"7", b"r": b"3", b"c": b"11", b"p": encode_usage(payload)}
    return {**fields, **{name.encode(): value for name, value in others.items()}}


@LAW
@given(payloads, moments, costs, revisions, stream_ids)
def test_usage_is_read_back(
    payload: UsagePayload, accepted_at: int, cost_micro: int, revision: int, stream_id: tuple[int, int]
) -> None:
    """Every usage event that an edge may accept."""
    fields = fields_of(payload, t=b"%d" % accepted_at, c=b"%d" % cost_micro, r=b"%d" % revision)
    expected = StreamEntry(stream_id, b"ref", EntryKind.USAGE, accepted_at, revision, cost_micro, payload)
    assert parse_entry(show_stream_id(stream_id).encode(), fields) == expected


@LAW
@given(payloads, texts, texts, moments, stream_ids)
def test_a_rejection_is_read_back(
    payload: UsagePayload, code: str, detail: str, received_at: int, stream_id: tuple[int, int]
) -> None:
    """Why it was rejected, and the event: shown once it is kept, and no payload that could be posted."""
    rejection = Rejection(code, detail, payload)
    fields = fields_of(k=b"j", t=b"%d" % received_at, r=b"0", c=b"0", p=encode_rejection(rejection))
    entry = parse_entry(show_stream_id(stream_id).encode(), fields)
    expected = StreamEntry(stream_id, b"ref", EntryKind.REJECTED, received_at, 0, 0, None, rejection=rejection)
    assert entry == expected
    assert (expected.sent, usage_of(msgspec.msgpack.encode(entry))) == (payload, expected)


@pytest.mark.parametrize(
    "changed",
    [
        {"c": b"1"},
        {"p": encode_usage(GOOD)},
        {"p": encode_rejection(Rejection("a\0b", "", GOOD))},
        {"p": encode_rejection(Rejection("", "a\0b", GOOD))},
        {"p": encode_rejection(Rejection("", "", UsagePayload(UUID(int=1), "f", -1, NO_PRICE, None, None, None)))},
    ],
)
def test_a_rejection_that_could_not_be_kept(changed: dict[str, bytes]) -> None:
    """One that costs something, holds what no table takes or has another form is kept as unreadable instead."""
    good = fields_of(k=b"j", c=b"0", p=encode_rejection(Rejection("unknown_feature", "No such.", GOOD)))
    assert isinstance(parse_entry(b"1-1", good), StreamEntry)
    damaged = {**good, **{name.encode(): value for name, value in changed.items()}}
    assert isinstance(parse_entry(b"1-1", damaged), UnreadableEntry)


@LAW
@given(stream_ids, stream_ids)
def test_stream_ids(first: tuple[int, int], second: tuple[int, int]) -> None:
    """An id survives as text."""
    assert parse_stream_id(show_stream_id(first).encode()) == first
    assert (show_stream_id(first) == show_stream_id(second)) == (first == second)


@LAW
@given(st.dictionaries(st.sampled_from([b"a", b"k", b"t", b"r", b"c", b"p", b"x"]), st.binary(max_size=40), max_size=7))
def test_anything_is_read_or_rejected(damage: dict[bytes, bytes]) -> None:
    """No fields at all, missing ones, strange ones: never an exception."""
    for fields in (damage, {**fields_of(), **damage}):
        assert isinstance(parse_entry(b"1-1", fields), StreamEntry | UnreadableEntry)


@pytest.mark.parametrize("name", ["a", "k", "t", "r", "c", "p"])
def test_a_missing_field_is_rejected(name: str) -> None:
    """Each field of a usage entry is needed; its cost still counts where it can be read."""
    fields = fields_of()
    del fields[name.encode()]
    entry = parse_entry(b"1-1", fields)
    assert isinstance(entry, UnreadableEntry)
    assert entry.cost_micro == (0 if name == "c" else 11)
    assert entry.fields == fields


@pytest.mark.parametrize(
    "fields",
    [
        fields_of(k=b"z"),
        fields_of(c=b"-1"),
        fields_of(c=b"%d" % (MAX_COST_MICRO + 1)),
        fields_of(c=b"1.5"),
        fields_of(p=b""),
        fields_of(p=b"\xc1"),
        fields_of(p=encode_usage(GOOD)[:-1]),
        fields_of(UsagePayload(UUID(int=1), "tokens", -1, UUID(int=2), None, None, None)),
        fields_of(UsagePayload(UUID(int=1), "tokens", MAX_UNITS_MICRO + 1, UUID(int=2), None, None, None)),
        fields_of(UsagePayload(UUID(int=1), "a\0b", 1, UUID(int=2), None, None, None)),
        fields_of(UsagePayload(UUID(int=1), "tokens", 1, UUID(int=2), -1, None, None)),
        fields_of(UsagePayload(UUID(int=1), "tokens", 1, UUID(int=2), NEVER_AT + 1, None, None)),
        fields_of(UsagePayload(UUID(int=1), "tokens", 1, UUID(int=2), None, "a\0b", None)),
        fields_of(UsagePayload(UUID(int=1), "tokens", 1, UUID(int=2), None, None, '{"a": "\0"}')),
        fields_of(t=b"-1"),
        fields_of(s=b"-1"),
        fields_of(s=b"%d" % (NEVER_AT + 1)),
        fields_of(t=b"%d" % (NEVER_AT + 1)),
        {b"a": b"ref", b"k": b"t", b"t": b"%d" % 10**30, b"r": b"1", b"c": b"0"},
        {b"a": b"ref", b"k": b"t", b"t": b"7", b"r": b"1", b"c": b"%d" % 10**30},
    ],
    ids=str,
)
def test_what_the_ledger_would_refuse_is_rejected(fields: dict[bytes, bytes]) -> None:
    """One entry that no table takes would hold up its partition for ever."""
    assert isinstance(parse_entry(b"1-1", fields), UnreadableEntry)


@pytest.mark.parametrize(
    "cost",
    [
        b"%d" % 10**30,
        b"9" * 5_000,
        b"%d" % MAX_COST_MICRO,
    ],
    ids=["beyond a bigint", "beyond int()", "the most"],
)
def test_the_cost_of_a_rejected_entry_can_be_applied(cost: bytes) -> None:
    """What counts as applied fits the ledger's column."""
    entry = parse_entry(b"1-1", {b"c": cost})
    assert isinstance(entry, UnreadableEntry)
    assert 0 <= entry.cost_micro <= MAX_BIGINT - 2**62
