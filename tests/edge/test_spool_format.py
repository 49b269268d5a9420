"""The records of a spool: what was written is read back, whatever is damaged beside it, and a torn end never is."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.credits import MAX_UNITS_MICRO
from app.rules.moments import NEVER_AT
from edge.decoding import MAX_END_USER_ID, MAX_FEATURE_KEY, MAX_IDEMPOTENCY_KEY, MAX_PROPERTIES_BYTES
from edge.spool_format import MARKER, MAX_RECORD_BYTES, NoWholeRecord, SpooledUsage, encode_record, read_record, scan
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
damages = st.binary(min_size=1, max_size=60) | st.just(MARKER) | usages.map(lambda usage: encode_record(usage)[:-1])


def written(events: list[SpooledUsage]) -> bytes:
    """The content of a file of these events, without its signature."""
    return b"".join(map(encode_record, events))


def found_in(content: bytes) -> list[SpooledUsage]:
    """The events of a whole file."""
    return [usage for _, usage in scan(content, is_last=True).found]


@LAW
@given(st.lists(usages, max_size=5))
def test_what_was_written_is_read_back(events: list[SpooledUsage]) -> None:
    """In order, each once more from the place where it is said to be, and nothing is damaged."""
    content = written(events)
    found, end, damaged = scan(content, is_last=True)
    assert ([usage for _, usage in found], end, damaged) == (events, len(content), 0)
    assert [read_record(content, start)[0] for start, _ in found] == events


@LAW
@given(st.lists(usages, min_size=1, max_size=4), st.integers(0, 60), st.data())
def test_a_torn_end_is_no_damage(events: list[SpooledUsage], zeros: int, data: st.DataObject) -> None:
    """Cut anywhere, with zeros behind or without: no record before the cut is lost, none is read that it cut."""
    content = written(events)
    ending = content[: data.draw(st.integers(0, len(content)))] + bytes(zeros)
    wholes = [written(events[: count + 1]) for count in range(len(events))]
    kept = sum(map(ending.startswith, wholes))  # zeros may be just what was cut off
    found, end, damaged = scan(ending, is_last=True)
    assert ([usage for _, usage in found], damaged) == (events[:kept], 0)
    assert end == len(written(events[:kept]))


@LAW
@given(st.lists(usages, max_size=3), damages, st.lists(usages, min_size=1, max_size=3))
def test_damage_loses_nothing_behind_it(before: list[SpooledUsage], damage: bytes, after: list[SpooledUsage]) -> None:
    """Whatever stands between two records, also the most of one: all that are whole are read, and it is counted."""
    scanned = scan(written(before) + damage + written(after), is_last=True)
    assert [usage for _, usage in scanned.found] == before + after
    assert scanned.damaged == 1


@LAW
@given(st.lists(usages, min_size=1, max_size=4), st.data())
def test_a_changed_byte_costs_one_record(events: list[SpooledUsage], data: st.DataObject) -> None:
    """Any byte of marker, length, checksum or event: that event is not read, and all others are."""
    place = data.draw(st.integers(0, len(events) - 1))
    start = len(written(events[:place]))
    content = bytearray(written(events))
    changed = data.draw(st.integers(start, start + len(encode_record(events[place])) - 1))
    content[changed] ^= data.draw(st.integers(1, 255))
    with pytest.raises(NoWholeRecord):
        read_record(bytes(content), start)
    assert found_in(bytes(content)) == events[:place] + events[place + 1 :]


@LAW
@given(st.lists(usages | damages, max_size=6), st.integers(1, 40))
def test_pieces_are_as_good_as_the_whole(parts: list[SpooledUsage | bytes], more: int) -> None:
    """Wherever a piece of a file ends: in a record, in a marker, in what is damaged."""
    content = b"".join([part if isinstance(part, bytes) else encode_record(part) for part in parts])
    content += bytes(MAX_RECORD_BYTES)  # so that there is more than one piece
    size, start, found = MAX_RECORD_BYTES + more, 0, list[tuple[int, SpooledUsage]]()
    while start < len(content):
        is_last = start + size >= len(content)
        scanned = scan(content[start : start + size], is_last=is_last)
        found += [(start + place, usage) for place, usage in scanned.found]
        start = len(content) if is_last else start + scanned.end
    assert found == scan(content, is_last=True).found


def test_a_text_cannot_be_a_record() -> None:
    """What a client sends as text may be anything but a record: where its own record is damaged it stays unread."""
    with pytest.raises(UnicodeDecodeError):
        MARKER.decode()


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
