"""Nothing secret is left of a text, and nothing else is taken from it."""

from json import dumps
from typing import Annotated
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from app.wire.key_digest import ALPHABET, SECRET_LENGTH, make_key
from app.wire.redaction import HIDDEN, Redactor, redact_keys, secrets_of
from tests.rules.laws import LAW

Secret = Annotated[str, Meta(min_length=32)]
KEYS = st.builds(make_key, st.sampled_from(["sandbox", "live"]), st.integers(0, len(ALPHABET) ** SECRET_LENGTH - 1))


@LAW
@given(st.text(max_size=20), KEYS, st.text(max_size=20))
def test_no_key_is_left(before: str, key: str, after: str) -> None:
    """But its beginning, by which its owner tells it from others; in bytes as in texts, escaped or not."""
    for shown in (key, key.replace("_", "%5F"), key.replace("_", "%5f")):
        text = f"{before}/{shown}/{after}"
        redacted = Redactor().redact(text)
        assert key[12:] not in redacted
        assert shown[: len(shown) - len(key) + 12] in redacted
        assert redact_keys(text.encode()) == redacted.encode()


@pytest.mark.parametrize("text", ["", "qs_test_", "qs_live_abcd", "qs_prod_abcdefgh", "what else there is", "key_0123"])
def test_what_is_no_key_stays(text: str) -> None:
    """As it is."""
    assert Redactor().redact(text) == text
    assert redact_keys(text.encode()) == text.encode()


@LAW
@given(st.text(min_size=32, max_size=40), st.text(max_size=20))
def test_no_secret_is_left(secret: str, text: str) -> None:
    """Neither plain, nor in JSON, nor in an address."""
    redactor = Redactor([secret, ""])
    for shown in (secret, dumps(secret), quote(secret, safe="")):
        redacted = redactor.redact(f"{text}{shown}{text}")
        assert HIDDEN in redacted
        assert secret not in redacted
    assert redactor.redact("") == ""


class _Settings(msgspec.Struct, frozen=True, kw_only=True):
    url: str = "postgres://core:p%40ssword-of-core@host/db?application_name=x"
    cluster: str = "redis+cluster://:password-of-redis@one:1,two:2"
    plain: str = "redis://localhost"
    short: str = "postgres://core:core@host/db"
    token: Secret = "t" * 32
    optional: Secret | None = None
    given: Secret | None = "g" * 32
    level: str = "information that is long enough to be one"
    number: int = 1


def test_which_settings_are_secret() -> None:
    """Those of the type, and the passwords in addresses, as they are written and as they are meant."""
    passwords = {"p%40ssword-of-core", "p@ssword-of-core", "password-of-redis"}
    assert secrets_of(_Settings(), Secret) == passwords | {"t" * 32, "g" * 32}
