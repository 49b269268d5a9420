"""The names of everything in Redis. Nothing else builds a key.

All keys of one customer carry the hash tag of the customer's partition, `{p}`, so that one script may touch them all,
on a cluster too. A customer is named by its `ref`: 22 characters for the environment, a colon, the end user's id.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from uuid import UUID
from zlib import crc32

ENVIRONMENT_REF_LENGTH = 22
SEEN_ENVIRONMENT_LENGTH = 6
"""36 bits: enough to tell environments apart, short enough to stand in every remembered key."""
AGREEMENT = b"agreement"


def environment_ref(environment_id: UUID) -> bytes:
    """The environment in 22 printable characters."""
    return urlsafe_b64encode(environment_id.bytes)[:ENVIRONMENT_REF_LENGTH]


def account_ref(environment: bytes, end_user_id: str) -> bytes:
    """The customer's name in Redis, from `environment_ref` and the tenant's own id."""
    return environment + b":" + end_user_id.encode()


def parse_account_ref(ref: bytes) -> tuple[UUID, str]:
    """Environment and end user of a ref."""
    environment, end_user_id = ref[:ENVIRONMENT_REF_LENGTH], ref[ENVIRONMENT_REF_LENGTH + 1 :]
    return UUID(bytes=urlsafe_b64decode(environment + b"==")), end_user_id.decode()


def partition_of(ref: bytes, partitions: int) -> int:
    """The partition that owns the customer, for ever: it is part of the agreement."""
    return crc32(ref) % partitions


def tag(partition: int) -> bytes:
    """The hash tag that all keys of a partition begin with."""
    return b"{%d}" % partition


def stream(partition: int) -> bytes:
    """Stream of everything that takes or returns credit, in order."""
    return b"{%d}:stream" % partition


def meta(partition: int) -> bytes:
    """Hash: incarnation, replication_id, last published cursor, Postgres identity."""
    return b"{%d}:meta" % partition


def account(partition: int, ref: bytes) -> bytes:
    """Hash: what the edge knows of a customer (fields: `wire.snapshot`)."""
    return b"{%d}:acct:%b" % (partition, ref)


def load_token(partition: int, ref: bytes) -> bytes:
    """String with TTL: guards a load under way against everything that happens meanwhile."""
    return b"{%d}:load:%b" % (partition, ref)


def seen(partition: int, environment: bytes, event_id: UUID) -> bytes:
    """String with TTL: what was asked and answered under an idempotency key.

    The id alone is unique; the end of the `environment_ref` keeps one environment from finding what another did. There
    are more of these than of anything else, so the name is short.
    """
    return b"{%d}:s:%b%b" % (partition, environment[-SEEN_ENVIRONMENT_LENGTH:], event_id.bytes)


def retried(partition: int, environment: bytes, event_id: UUID) -> bytes:
    """String with TTL: the stream id of the event's rejected entry that was appended again."""
    return b"{%d}:retried:%b%b" % (partition, environment[-SEEN_ENVIRONMENT_LENGTH:], event_id.bytes)


def used(partition: int, ref: bytes) -> bytes:
    """Hash: units used and reserved in the account's present period, by feature; only of features that are counted."""
    return b"{%d}:used:%b" % (partition, ref)


def gauge(partition: int, ref: bytes) -> bytes:
    """Hash: what the customer holds of gauges, by feature and by holder (fields: `scripts/gauges.lua`)."""
    return b"{%d}:gauge:%b" % (partition, ref)


def gauge_due(partition: int, ref: bytes) -> bytes:
    """Sorted set of the customer's holders by when their time is over; those without an end are not in it."""
    return b"{%d}:gaugedue:%b" % (partition, ref)


def reservation(partition: int, environment: bytes, reservation_id: UUID) -> bytes:
    """Hash: a reservation (fields: `wire.held`); with a TTL once it has ended."""
    return reservation_of(partition, due_member(environment, reservation_id))


def due(partition: int) -> bytes:
    """Sorted set of the partition's open reservations by when they fall due."""
    return b"{%d}:due" % partition


def due_member(environment: bytes, reservation_id: UUID) -> bytes:
    """A reservation in the set of those that are open."""
    return environment[-SEEN_ENVIRONMENT_LENGTH:] + reservation_id.bytes


def reservation_of(partition: int, member: bytes) -> bytes:
    """The reservation behind a `due_member`."""
    return b"{%d}:rsv:%b" % (partition, member)


def reservation_id_of(member: bytes) -> UUID:
    """The id in a `due_member`."""
    return UUID(bytes=member[SEEN_ENVIRONMENT_LENGTH:])


def plan(snapshot_id: str) -> bytes:
    """String: a content-addressed plan snapshot, never changed."""
    return b"plan:" + snapshot_id.encode()


def api_key(digest: bytes) -> bytes:
    """String with TTL: the record of an API key, or UNKNOWN_KEY."""
    return b"apikey:" + digest.hex().encode()


UNKNOWN_KEY = b"unknown"
KEY_USES = b"apikeys:used"
"""Sorted set of API keys that were used (`key_use`) by when that was; jobs takes them out."""
_UUID_DIGITS = 32


def key_use(environment_id: UUID, key_id: UUID) -> bytes:
    """An API key in KEY_USES; as digits, among which nobody finds a hash tag."""
    return environment_id.hex.encode() + key_id.hex.encode()


def parse_key_use(member: bytes) -> tuple[UUID, UUID]:
    """Environment and key behind a `key_use`."""
    return UUID(hex=member[:_UUID_DIGITS].decode()), UUID(hex=member[_UUID_DIGITS:].decode())


def key_requests(partition: int, environment: bytes, key_id: UUID, window: int) -> bytes:
    """String with TTL: requests of an API key in the window that began at that second.

    It is in the partition of its environment's ref, as `tenant_requests` is, so that one script may touch both.
    """
    return b"{%d}:rate:%b:%b:%d" % (partition, environment, key_id.hex.encode(), window)


def tenant_requests(partition: int, environment: bytes, window: int) -> bytes:
    """String with TTL: requests of all keys of the environment in that window."""
    return b"{%d}:rate:%b:%d" % (partition, environment, window)


ANY_ACCOUNT = b"{*}:acct:*"
"""Pattern that every account key matches."""


def split_tag(key: bytes) -> tuple[bytes, bytes]:
    """(hash tag with its braces, the rest) of a key."""
    end = key.index(b"}") + 1
    return key[:end], key[end:]


def used_beside(account_key: bytes) -> bytes:
    """What the account of a key has used (`used`)."""
    head, rest = split_tag(account_key)
    return head + rest.replace(b":acct:", b":used:", 1)


def load_token_of(account_key: bytes) -> bytes:
    """The load token beside an account key."""
    return _beside(account_key, b":load:")


def gauges_of(account_key: bytes) -> tuple[bytes, bytes]:
    """`gauge` and `gauge_due` beside an account key."""
    return _beside(account_key, b":gauge:"), _beside(account_key, b":gaugedue:")


def _beside(account_key: bytes, kind: bytes) -> bytes:
    head, rest = split_tag(account_key)
    return head + kind + rest.removeprefix(b":acct:")
