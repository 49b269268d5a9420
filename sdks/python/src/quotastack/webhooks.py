"""Webhooks as Standard Webhooks signs them: whether one comes from the service, and what it says."""

import hmac
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec

from quotastack.answers import WebhookEvent
from quotastack.errors import ConfigurationError, WebhookVerificationError

TOLERANCE_SECONDS = 300
_PREFIX = "whsec_"
_VERSION = "v1,"
_LONGEST_TIMESTAMP = 12


def verify_webhook(
    body: bytes | str,
    headers: Mapping[str, str],
    secrets: str | Sequence[str],
    *,
    tolerance: float = TOLERANCE_SECONDS,
    now: float | None = None,
) -> WebhookEvent:
    """The event, where `body` was signed, byte for byte, with one of the secrets, within `tolerance` seconds of now.

    While a secret is rotated give both. `now` is the time in Unix seconds. Raises WebhookVerificationError.
    """
    content = body.encode() if isinstance(body, str) else body
    found = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp, signatures = (_header(found, f"webhook-{name}") for name in ("id", "timestamp", "signature"))
    _check_time(timestamp, time.time() if now is None else now, tolerance)
    signed = b".".join((message_id.encode(), timestamp.encode(), content))
    known = [_VERSION + _signature(secret, signed) for secret in ([secrets] if isinstance(secrets, str) else secrets)]
    sent = signatures.split(" ")
    # Every pair is compared, so that the time it takes says nothing of which was near.
    if not any([hmac.compare_digest(one.encode(), good.encode()) for one in sent for good in known]):  # noqa: C419
        raise WebhookVerificationError("No signature is one of these secrets over this id, timestamp and body.")
    return _read(message_id, content)


def _header(headers: Mapping[str, str], name: str) -> str:
    if not (value := headers.get(name)):
        raise WebhookVerificationError(f"The header {name} is missing.")
    return value


def _check_time(timestamp: str, now: float, tolerance: float) -> None:
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= _LONGEST_TIMESTAMP):
        raise WebhookVerificationError("webhook-timestamp is no number of seconds.")
    age = now - int(timestamp)
    if abs(age) > tolerance:
        when = "ago" if age > 0 else "from now"
        raise WebhookVerificationError(f"It was signed {abs(age):.0f} s {when}, and {tolerance:.0f} s are allowed.")


def _signature(secret: str, signed: bytes) -> str:
    try:
        key = b64decode(secret.removeprefix(_PREFIX), validate=True)
    except ValueError as error:
        raise ConfigurationError("A webhook secret is `whsec_` and base64.") from error
    if not key:
        raise ConfigurationError("The webhook secret is empty: with it anybody could sign.")
    return b64encode(hmac.digest(key, signed, sha256)).decode()


def _read(message_id: str, content: bytes) -> WebhookEvent:
    try:
        members: dict[str, Any] = msgspec.json.decode(content, type=dict[str, Any])
        return msgspec.convert(members | {"id": message_id}, WebhookEvent)
    except msgspec.MsgspecError as error:
        raise WebhookVerificationError(f"It is signed, and is no event: {error}.") from error
