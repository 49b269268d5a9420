"""How usage stands in a spool: one record after the other, each with its length and a checksum before it.

A crash can leave the last records torn: cut short, or zeros that the file system had room for and no content yet.
Reading ends at the first record that is not whole. Nothing behind it was ever acknowledged: what is written next begins
only when what came before is synced.
"""

from collections.abc import Iterator
from struct import Struct
from uuid import UUID
from zlib import crc32

import msgspec

SIGNATURE = b"qs-spool-1\n"
"""The first bytes of a file. Another form of record has another number."""
MAX_RECORD_BYTES = 32 * 1024
"""No event that the edge takes comes near it; a longer one is a torn one."""

_HEAD = Struct("<II")  # bytes of the body, their CRC-32
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


class TornRecord(Exception):
    """What stands there is no whole record."""


def encode_record(usage: SpooledUsage) -> bytes:
    """The event as it is appended."""
    body = _encoder.encode(usage)
    return _HEAD.pack(len(body), crc32(body)) + body


def read_record(content: bytes, start: int = 0) -> tuple[SpooledUsage, int]:
    """The event whose record begins at `start`, and where the next one does. Raises TornRecord."""
    body_start = start + _HEAD.size
    if len(content) < body_start:
        raise TornRecord(f"no head at byte {start}")
    length, checksum = _HEAD.unpack_from(content, start)
    body = content[body_start : body_start + length]
    # Zeros are a head that is right about an empty body.
    if not 0 < length <= MAX_RECORD_BYTES or len(body) < length or crc32(body) != checksum:
        raise TornRecord(f"no whole body at byte {body_start}")
    try:
        return _decoder.decode(body), body_start + length
    except msgspec.MsgspecError as error:
        raise TornRecord(f"no usage at byte {body_start}: {error}") from error


def scan(content: bytes) -> Iterator[tuple[int, SpooledUsage, int]]:
    """Start, event and end of every record of a file, up to the first that is not whole; none without a signature."""
    start = len(SIGNATURE)
    if content[:start] != SIGNATURE:
        return
    while start < len(content):
        try:
            usage, end = read_record(content, start)
        except TornRecord:
            return
        yield start, usage, end
        start = end
