"""The variables of the app. What it needs for QuotaStack is named as the client names it."""

import os
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class Settings(msgspec.Struct, frozen=True):
    """Where QuotaStack is, where the app listens, how fast it talks, and what it does while metering is away."""

    quotastack_key: Annotated[str, Meta(pattern="^qs_test_")]
    """Of a sandbox: the app makes a catalogue of its own there, and puts whoever comes on its free plan."""
    quotastack_url: str
    quotastack_edge_url: str
    demo_host: str = "127.0.0.1"
    demo_port: Annotated[int, Meta(ge=1, le=65_535)] = 8080
    demo_fail_mode: Literal["open", "closed"] = "open"
    demo_tokens_per_second: Annotated[float, Meta(gt=0, le=1_000)] = 30
    demo_spool: str | None = None
    """A directory for usage that metering did not take yet; None = in memory."""


def read(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings. Raises msgspec.ValidationError that names what is missing, or cannot be used."""
    given = {name: environ[name.upper()] for name in Settings.__struct_fields__ if environ.get(name.upper())}
    return msgspec.convert(given, Settings, strict=False)
