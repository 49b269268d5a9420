"""Where the keys of a cluster are: addresses as a setting names them, the slot of a key, and who has which slots.

A cluster cuts its keys into SLOTS; a key's slot comes from its hash tag, so a partition has one slot.
"""

from binascii import crc_hqx
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from app.wire import keys

SLOTS = 16_384
CLUSTER = "+cluster"
"""What the scheme of a cluster's address ends with: `redis+cluster://`, `rediss+cluster://`."""
REDIS_URL_PATTERN = r"^(rediss?(\+cluster)?|unix)://"
Address = tuple[str, int]
"""Host and port of a server."""


class Range(msgspec.Struct, frozen=True):
    """Slots, the last included, and the primary that has them."""

    first: int
    last: int
    primary: Address


def slot_of(key: bytes) -> int:
    """The slot of a key: of what stands between its first braces, where that is not empty; else of all of it."""
    start = key.find(b"{")
    end = key.find(b"}", start)
    if start >= 0 and end > start + 1:
        key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


def slots_of_partitions(partitions: int) -> list[int]:
    """The slot of each partition."""
    return [slot_of(keys.tag(partition)) for partition in range(partitions)]


def is_cluster(url: str) -> bool:
    """Whether an address is one of a cluster."""
    return urlsplit(url).scheme.endswith(CLUSTER)


def node_urls(url: str) -> list[str]:
    """The servers that a cluster's address names, each as an address of its own: where to ask for all others."""
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    scheme = parts.scheme.removesuffix(CLUSTER)
    return [urlunsplit((scheme, f"{user}{at}{host}", "", parts.query, "")) for host in hosts.split(",")]


def node_url(url: str, address: Address) -> str:
    """The address of one server of the cluster, with everything else that the cluster's address says."""
    host, port = address
    bracketed = f"[{host}]" if ":" in host else host
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return urlunsplit((parts.scheme.removesuffix(CLUSTER), f"{user}{at}{bracketed}:{port}", "", parts.query, ""))


def read_ranges(reply: Sequence[Sequence[Any]], asked: str) -> list[Range]:
    """What `CLUSTER SLOTS` answered. A primary that does not know its own host is where it was `asked`."""
    return list(_read_ranges(reply, asked))


def _read_ranges(reply: Sequence[Sequence[Any]], asked: str) -> Iterator[Range]:
    for first, last, primary, *_ in reply:
        host, port = primary[0], primary[1]
        yield Range(first, last, (host.decode() if host else asked, port))
