"""Entity tags: whether a client has what would be answered."""

from hashlib import blake2b

_BYTES = 12


def tag_of(content: bytes) -> bytes:
    """The value of an ETag: a digest of everything that is said, so it changes with that and with nothing else."""
    return b'"%b"' % blake2b(content, digest_size=_BYTES).hexdigest().encode()


def is_known(sent: bytes, tag: bytes) -> bool:
    """Whether an If-None-Match names what the tag stands for (RFC 9110, 13.1.2: a weak tag is as good)."""
    known = [part.strip().removeprefix(b"W/") for part in sent.split(b",")]
    return tag in known or b"*" in known
