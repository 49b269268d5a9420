"""How a webhook proves that it comes from here: the symmetric scheme of Standard Webhooks, version 1.

A secret is not kept anywhere. It follows from the key of the installation, the endpoint, and how often the endpoint's
secret was changed.
"""

import hmac
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from uuid import UUID

SECRET_PREFIX = "whsec_"  # noqa: S105 - what secrets begin with is none
_VERSION_BYTES = 4


def derive_secret(key: bytes, endpoint_id: UUID, version: int) -> bytes:
    """The 32 bytes that messages to the endpoint are signed with. `version` counts the changes of its secret."""
    return hmac.digest(key, endpoint_id.bytes + version.to_bytes(_VERSION_BYTES, "big"), sha256)


def show_secret(secret: bytes) -> str:
    """The secret as receivers keep it, and as their libraries take it."""
    return SECRET_PREFIX + b64encode(secret).decode()


def sign(secrets: Sequence[bytes], message_id: str, timestamp_seconds: int, body: bytes) -> str:
    """The header `webhook-signature`: one signature for each secret that is good today. Receivers accept any of them.

    `message_id` and `timestamp_seconds` go as `webhook-id` and `webhook-timestamp`, so neither can be exchanged.
    """
    signed = f"{message_id}.{timestamp_seconds}.".encode() + body
    return " ".join([f"v1,{b64encode(hmac.digest(secret, signed, sha256)).decode()}" for secret in secrets])
