"""Is the memory in Redis still the one that the ledger's cursor speaks of? Decided before anything is read.

A server's replication id changes with every restart, so a new one alone says little. The memory of another server went
back where it has published less than the ledger's cursor says; a promoted replica may lack what core published; a
ledger behind what was published is a ledger that was restored. In each of these cases a new incarnation begins: the
stream is read again from its first entry (the ledger knows what it has), and the accounts are loaded again.
"""

from enum import Enum
from uuid import UUID

import msgspec

from app.io.stream import PartitionMemory, ServerIdentity


class Cursor(msgspec.Struct, frozen=True):
    """How far the ledger has read a partition: everything at or before `last_id` has happened."""

    incarnation: UUID
    last_id: tuple[int, int]


class Verdict(Enum):
    """What to do about a partition's memory."""

    SAME = "same"
    """Nothing happened."""
    ADOPT = "adopt"
    """The server was started again with all that it knew."""
    BEGIN = "begin"
    """Begin a new incarnation."""


def verdict(cursor: Cursor | None, memory: PartitionMemory, server: ServerIdentity) -> Verdict:
    """Compare the ledger's cursor with what Redis remembers of the partition."""
    if cursor is None or memory.incarnation != cursor.incarnation or cursor.last_id < memory.published:
        return Verdict.BEGIN
    if memory.replication_id == server.replication_id:
        return Verdict.SAME
    if memory.published != cursor.last_id or server.promoted_from == memory.replication_id:
        return Verdict.BEGIN
    return Verdict.ADOPT
