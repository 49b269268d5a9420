"""How usage stands in a spool: one record after the other, each with a marker, its length and a checksum before it.

A crash can leave the end of a file torn: cut short, or zeros that the file system had room for and no content yet.
Nothing of it was ever acknowledged: what is written next begins only when what came before is synced. Anything else
that is no record is damage, and may have been acknowledged: reading goes on with the next whole record, which the
marker finds.
"""

from struct import Struct
from typing import NamedTuple
from uuid import UUID
from zlib import crc32

import msgspec

SIGNATURE = b"qs-spool-2\n"
"""The first bytes of a file. Another form of record has another number."""
MARKER = b"\xffQS\xfe"
"""Its ends stand in no UTF-8: whatever clients send as text, it cannot be taken for a record."""
MAX_RECORD_BYTES = 32 * 1024
"""No event that the edge takes comes near it; what claims to be longer is no record."""

_HEAD = Struct(f"<{len(MARKER)}sII")  # the marker, bytes of the body, their CRC-32
_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")


class SpooledUsage(msgspec.Struct, frozen=True, array_like=True):
    """A usage event as it was acknowledged. A MessagePack array, in this order."""

    ref: bytes
    """The account ref of `wire.keys`."""
    event_id: UUID
    received_at: int
    """Microseconds: when the event happened, where the client gives no timestamp."""
    feature_key: str
    units_micro: int
    occurred_at: int | None
    idempotency_key: str | None
    properties: str | None


_decoder = msgspec.msgpack.Decoder(SpooledUsage)


class NoWholeRecord(Exception):
    """What stands there is torn or damaged."""


class Scanned(NamedTuple):
    """What a piece of a file holds."""

    found: list[tuple[int, SpooledUsage]]
    """Where each event begins."""
    end: int
    """Where the next piece begins; of the last one: where the torn end does, if there is one."""
    damaged: int
    """Stretches that are no records, and no torn end."""


def encode_record(usage: SpooledUsage) -> bytes:
    """The event as it is appended."""
    body = _encoder.encode(usage)
    return _HEAD.pack(MARKER, len(body), crc32(body)) + body


def read_record(content: bytes, start: int = 0) -> tuple[SpooledUsage, int]:
    """The event whose record begins at `start`, and where the next one does. Raises NoWholeRecord."""
    body_start = start + _HEAD.size
    if len(content) < body_start:
        raise NoWholeRecord(f"no head at byte {start}")
    marker, length, checksum = _HEAD.unpack_from(content, start)
    if marker != MARKER or length > MAX_RECORD_BYTES - _HEAD.size:
        raise NoWholeRecord(f"another head at byte {start}")
    body = content[body_start : body_start + length]
    if len(body) < length or crc32(body) != checksum:
        raise NoWholeRecord(f"no whole body at byte {body_start}")
    try:
        return _decoder.decode(body), body_start + length
    except msgspec.MsgspecError as error:
        raise NoWholeRecord(f"no usage at byte {body_start}: {error}") from error


def scan(content: bytes, *, is_last: bool) -> Scanned:
    """The records of a piece that begins where one should begin; a record at its end may go on in the next piece."""
    found, damaged, start = list[tuple[int, SpooledUsage]](), 0, 0
    while start < len(content):
        try:
            usage, end = read_record(content, start)
        except NoWholeRecord:
            if _goes_on(content, start, is_last=is_last):
                break
            end = _resume(content, start, is_last=is_last)
            if end == len(content) and _is_torn(content[start:]):
                break
            damaged += 1
        else:
            found.append((start, usage))
        start = end
    return Scanned(found, start, damaged)


def _goes_on(content: bytes, start: int, *, is_last: bool) -> bool:
    """Whether a record that begins there may have its end in the next piece."""
    return not is_last and len(content) - start < MAX_RECORD_BYTES


def _resume(content: bytes, start: int, *, is_last: bool) -> int:
    """Where the next record begins that is whole, or may be with the next piece; the end where there is none."""
    while (start := content.find(MARKER, start + 1)) >= 0:
        if _goes_on(content, start, is_last=is_last):
            return start
        try:
            read_record(content, start)
        except NoWholeRecord:
            continue
        return start
    return len(content) if is_last else len(content) - len(MARKER) + 1  # the piece may end inside a marker


def _is_torn(end: bytes) -> bool:
    """Whether the end of a file is what a crash leaves of a record: its beginning, perhaps zeros, and nothing else."""
    begun = end.rstrip(b"\0")
    if len(begun) < _HEAD.size:
        return True
    marker, length, _ = _HEAD.unpack_from(begun)
    return marker == MARKER and len(begun) - _HEAD.size < length <= MAX_RECORD_BYTES
