"""When the memory in Redis is the one that the ledger's cursor speaks of: a table."""

from uuid import UUID

import pytest

from app.flusher.memory import Cursor, Verdict, verdict
from app.io.stream import PartitionMemory, ServerIdentity

OURS, OTHERS = UUID(int=1), UUID(int=2)
NONE = "0" * 40
SERVER = ServerIdentity("a", NONE)
RESTARTED = ServerIdentity("b", NONE)
PROMOTED = ServerIdentity("b", "a")

CASES = [
    # what happened                         cursor              incarnation, id, published      server     verdict
    ("nothing was ever read", None, (None, "", (0, 0)), SERVER, Verdict.BEGIN),
    ("nothing happened", (OURS, (5, 0)), (OURS, "a", (5, 0)), SERVER, Verdict.SAME),
    ("we died between commit and publish", (OURS, (7, 0)), (OURS, "a", (5, 0)), SERVER, Verdict.SAME),
    ("restarted with its log", (OURS, (5, 0)), (OURS, "a", (5, 0)), RESTARTED, Verdict.ADOPT),
    ("restarted without its last second", (OURS, (7, 0)), (OURS, "a", (5, 0)), RESTARTED, Verdict.BEGIN),
    ("emptied", (OURS, (5, 0)), (None, "", (0, 0)), SERVER, Verdict.BEGIN),
    ("emptied by a restart", (OURS, (5, 0)), (None, "", (0, 0)), RESTARTED, Verdict.BEGIN),
    ("a replica took over", (OURS, (5, 0)), (OURS, "a", (5, 0)), PROMOTED, Verdict.BEGIN),
    ("a replica that lags took over", (OURS, (7, 0)), (OURS, "a", (5, 0)), PROMOTED, Verdict.BEGIN),
    ("an incarnation was begun halfway", (OURS, (0, 0)), (OTHERS, "a", (5, 0)), SERVER, Verdict.BEGIN),
    ("the ledger was restored", (OURS, (5, 0)), (OURS, "a", (7, 0)), SERVER, Verdict.BEGIN),
    ("the ledger was restored, Redis restarted", (OURS, (5, 0)), (OURS, "a", (7, 0)), RESTARTED, Verdict.BEGIN),
]


@pytest.mark.parametrize(
    ("cursor", "memory", "server", "expected"),
    [pytest.param(*case[1:], id=case[0].replace(" ", "-").replace(",", "")) for case in CASES],
)
def test_verdict(
    cursor: tuple[UUID, tuple[int, int]] | None,
    memory: tuple[UUID | None, str, tuple[int, int]],
    server: ServerIdentity,
    expected: Verdict,
) -> None:
    """Each thing that can happen to the stores has its verdict."""
    known = None if cursor is None else Cursor(*cursor)
    assert verdict(known, PartitionMemory(*memory), server) is expected
