"""What is signed here, the receivers' own library takes, and nothing else."""

from base64 import b64decode
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from app.rules.signature import derive_secret, show_secret, sign
from tests.rules.laws import LAW

secrets = st.binary(min_size=32, max_size=32)
message_ids = st.from_regex(r"evt_[0-9a-f]{32}", fullmatch=True)
bodies = st.text(st.characters(exclude_categories=["Cs"])).map(str.encode)
versions = st.integers(1, 2**32 - 1)


def is_taken(secret: bytes, message_id: str, timestamp: int, body: bytes, signature: str) -> bool:
    """Whether a receiver who holds `secret` believes the message."""
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": signature}
    try:
        Webhook(show_secret(secret)).verify(body, headers, json_parse=False)
    except WebhookVerificationError:
        return False
    return True


def now() -> int:
    """The library looks at the clock: messages of another hour are refused."""
    return int(datetime.now(UTC).timestamp())


@LAW
@given(st.lists(secrets, min_size=1, max_size=3, unique=True), secrets, message_ids, bodies)
def test_each_secret_that_signed_is_enough(signing: list[bytes], other: bytes, message_id: str, body: bytes) -> None:
    """While a secret is being changed the holders of either one believe the message; nobody else does."""
    signature = sign(signing, message_id, at := now(), body)
    assert all(is_taken(secret, message_id, at, body, signature) for secret in signing)
    assert is_taken(other, message_id, at, body, signature) == (other in signing)


@LAW
@given(secrets, message_ids, message_ids, bodies, bodies)
def test_id_moment_and_body_are_all_signed(secret: bytes, one: str, two: str, body: bytes, changed: bytes) -> None:
    """What comes with another id, at another second or with another body is no message of ours."""
    signature = sign([secret], one, at := now(), body)
    assert is_taken(secret, two, at, body, signature) == (one == two)
    assert is_taken(secret, one, at, changed, signature) == (body == changed)
    assert not is_taken(secret, one, at - 1, body, signature)


@LAW
@given(secrets, secrets, st.uuids(), st.uuids(), st.tuples(versions, versions))
def test_each_endpoint_and_version_has_a_secret_of_its_own(
    key: bytes, other_key: bytes, endpoint_id: UUID, other_id: UUID, pair: tuple[int, int]
) -> None:
    """32 bytes that depend on the key, the endpoint and the version, and on nothing else."""
    secret = derive_secret(key, endpoint_id, pair[0])
    assert len(secret) == 32
    assert b64decode(show_secret(secret).removeprefix("whsec_")) == secret
    assert (derive_secret(key, endpoint_id, pair[1]) == secret) == (pair[0] == pair[1])
    assert (derive_secret(key, other_id, pair[0]) == secret) == (endpoint_id == other_id)
    assert (derive_secret(other_key, endpoint_id, pair[0]) == secret) == (key == other_key)


def test_the_example_of_the_standard() -> None:
    """A message whose signature is published."""
    secret = b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    signature = sign([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("version", [-1, 2**32])
def test_a_version_that_does_not_fit_is_an_error(version: int) -> None:
    """It would share its secret with another one."""
    with pytest.raises(OverflowError):
        derive_secret(bytes(32), UUID(int=1), version)
