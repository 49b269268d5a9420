"""The records of a spool: what was written is read back, and a torn tail never is."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.credits import MAX_UNITS_MICRO
from app.rules.moments import NEVER_AT
from edge.decoding import MAX_END_USER_ID, MAX_FEATURE_KEY, MAX_IDEMPOTENCY_KEY, MAX_PROPERTIES_BYTES
from edge.spool_format import MAX_RECORD_BYTES, SIGNATURE, SpooledUsage, TornRecord, encode_record, read_record, scan
from tests.rules.laws import LAW

texts = st.text(max_size=20)
usages = st.builds(
    SpooledUsage,
    ref=st.binary(max_size=40),
    event_id=st.uuids(),
    received_at=st.integers(0, NEVER_AT),
    feature_key=texts,
    units_micro=st.integers(1, MAX_UNITS_MICRO),
    occurred_at=st.none() | st.integers(0, NEVER_AT),
    idempotency_key=st.none() | texts,
    properties=st.none() | texts,
)
tails = st.binary(max_size=60) | st.integers(0, 60).map(bytes)


def written(events: list[SpooledUsage]) -> bytes:
    """A file of these events."""
    return SIGNATURE + b"".join(map(encode_record, events))


@LAW
@given(st.lists(usages, max_size=5))
def test_what_was_written_is_read_back(events: list[SpooledUsage]) -> None:
    """In order, and each once more from the place where it is said to be."""
    content = written(events)
    found = list(scan(content))
    assert [usage for _, usage, _ in found] == events
    assert [read_record(content, start) for start, _, _ in found] == [(usage, end) for _, usage, end in found]
    assert (found[-1][2] if found else len(SIGNATURE)) == len(content)


@LAW
@given(st.lists(usages, min_size=1, max_size=4), st.data())
def test_a_file_cut_anywhere_keeps_its_whole_records(events: list[SpooledUsage], data: st.DataObject) -> None:
    """No record that is cut short is read, and none before the cut is lost."""
    content = written(events)
    length = data.draw(st.integers(0, len(content)))
    ends = [end for _, _, end in scan(content)]
    assert [usage for _, usage, _ in scan(content[:length])] == events[: sum(end <= length for end in ends)]


@LAW
@given(st.lists(usages, max_size=3), tails)
def test_what_is_no_record_ends_the_file(events: list[SpooledUsage], tail: bytes) -> None:
    """Zeros, or whatever else a crash left behind the last record."""
    content = written(events)
    found = list(scan(content + tail))
    assert [usage for _, usage, _ in found] == events
    assert (found[-1][2] if found else len(SIGNATURE)) == len(content)


@LAW
@given(usages, st.data())
def test_a_changed_byte_is_noticed(usage: SpooledUsage, data: st.DataObject) -> None:
    """Any byte of length, checksum or event."""
    record = bytearray(encode_record(usage))
    record[data.draw(st.integers(0, len(record) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(TornRecord):
        read_record(bytes(record))


def test_the_largest_event_is_a_record() -> None:
    """Everything at its bound, in characters of four bytes."""
    longest = "\N{GRINNING FACE}"
    ref = b"e" * 23 + (longest * MAX_END_USER_ID).encode()
    names = longest * MAX_FEATURE_KEY, longest * MAX_IDEMPOTENCY_KEY, "p" * MAX_PROPERTIES_BYTES
    feature_key, idempotency_key, properties = names
    usage = SpooledUsage(
        ref, UUID(int=1), NEVER_AT, feature_key, MAX_UNITS_MICRO, NEVER_AT, idempotency_key, properties
    )
    record = encode_record(usage)
    assert read_record(record) == (usage, len(record))
    assert len(record) * 2 < MAX_RECORD_BYTES


@pytest.mark.parametrize("content", [b"", b"qs-spool", b"qs-spool-2\n" + bytes(40), bytes(100)])
def test_another_file_has_no_records(content: bytes) -> None:
    """One that is empty, of another version, or that never got its signature."""
    assert not list(scan(content))
