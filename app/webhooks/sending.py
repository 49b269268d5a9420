"""What is sent to an endpoint: the same body each time, signed with the secrets that are good at the moment."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from app.rules.signature import derive_secret, sign
from app.wire.ids import show

EVENT_PREFIX = "evt"
USER_AGENT = "QuotaStack-Webhooks/1"


class QueueKey(msgspec.Struct, frozen=True, order=True):
    """What waits for one endpoint of one customer's events; '' = of what concerns none."""

    environment_id: UUID
    endpoint_id: UUID
    end_user_id: str


class Claimed(msgspec.Struct, frozen=True):
    """A queue that this process has for a while; `claim` is of this time only."""

    key: QueueKey
    claim: UUID


class Secrets(msgspec.Struct, frozen=True):
    """Which secrets an endpoint has."""

    version: int
    rotated_until: datetime | None
    """The one before is good until then."""

    def good(self, key: bytes, endpoint_id: UUID, now: datetime) -> list[bytes]:
        """The present one first."""
        versions = [self.version]
        if self.rotated_until is not None and now < self.rotated_until:
            versions.append(self.version - 1)
        return [derive_secret(key, endpoint_id, version) for version in versions]


class Told(msgspec.Struct, frozen=True):
    """An event as it is told."""

    id: UUID
    type: str
    created_at: datetime
    sequence: int
    end_user_id: str | None
    data: bytes
    """JSON."""
    traceparent: str | None


class Head(msgspec.Struct, frozen=True):
    """What is first in a queue that this process has, and where it goes."""

    queue: Claimed
    delivery_id: UUID
    attempts: int
    """That were made in all."""
    attempts_before: int
    """Those of them that were made before it was queued the last time."""
    event: Told
    url: str
    secrets: Secrets
    is_failing: bool
    """Whether no attempt at the endpoint went well lately."""

    @property
    def number(self) -> int:
        """Of the attempt that is next, from 1, since it was queued."""
        return self.attempts - self.attempts_before + 1


class _Body(msgspec.Struct, frozen=True):
    type: str
    timestamp: datetime
    end_user_id: str | None
    sequence: int
    data: msgspec.Raw


def body_of(event: Told) -> bytes:
    """The body of every attempt."""
    data = msgspec.Raw(event.data)
    return msgspec.json.encode(_Body(event.type, event.created_at, event.end_user_id, event.sequence, data))


def headers_of(event: Told, body: bytes, secrets: Sequence[bytes], now: datetime) -> Mapping[str, str]:
    """The headers of an attempt at `now`."""
    message_id, timestamp_seconds = show(EVENT_PREFIX, event.id), int(now.timestamp())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_seconds),
        "webhook-signature": sign(secrets, message_id, timestamp_seconds, body),
    }
    return headers if event.traceparent is None else {**headers, "traceparent": event.traceparent}
