"""What no log and no problem document shows: API keys, wherever they stand, and the secrets of the process."""

import re
from collections.abc import Iterable
from json import dumps
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import msgspec

_UNDERSCORE = r"(?:_|%5[Ff])"
_KEY = rf"(?P<shown>qs{_UNDERSCORE}(?:test|live){_UNDERSCORE}[0-9A-Za-z]{{4}})[0-9A-Za-z]+"
_KEY_BYTES = re.compile(_KEY.encode())
HIDDEN = "[hidden]"
MIN_PASSWORD_LENGTH = 12
"""A shorter one may be a word that logs are full of; no driver shows it."""


def redact_keys(content: bytes) -> bytes:
    """The same with the beginnings of API keys in their place, as much as is shown of them everywhere."""
    return _KEY_BYTES.sub(rb"\g<shown>...", content)


class Redactor:
    """Takes API keys and these secrets out of texts, also as they stand in JSON and in addresses."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        variants = {variant for secret in secrets for variant in _variants(secret)}
        longest_first = sorted(variants, key=len, reverse=True)
        self._pattern = re.compile("|".join([_KEY, *map(re.escape, longest_first)]))

    def redact(self, text: str) -> str:
        """The text without them."""
        return self._pattern.sub(_replacement, text)


def _replacement(found: re.Match[str]) -> str:
    return HIDDEN if found["shown"] is None else f"{found['shown']}..."


def _variants(secret: str) -> Iterable[str]:
    return (secret, dumps(secret)[1:-1], quote(secret, safe="")) if secret else ()


def secrets_of(settings: msgspec.Struct, kind: Any) -> set[str]:  # noqa: ANN401 - a type, as annotations have it
    """What of settings is secret: fields whose type is `kind`, and the passwords in addresses."""
    found: set[str] = set()
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        if not isinstance(value, str):
            continue
        if field.type in (kind, kind | None):
            found.add(value)
        elif "://" in value:
            password = urlsplit(value).password or ""
            if len(password) >= MIN_PASSWORD_LENGTH:
                found |= {password, unquote(password)}
    return found
