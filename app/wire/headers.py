"""Headers of a request that every process reads alike."""

ONCE = frozenset(
    (
        *(b"host", b"content-length", b"transfer-encoding", b"content-type"),
        *(b"authorization", b"x-api-key", b"idempotency-key"),
    )
)
"""Those that stand for one value: of two, somebody in between might believe the one, and we the other."""


def said_twice(name: bytes) -> str:
    """What the sender of such a header is told."""
    return f"The header {name.decode()} came more than once; send it once."
