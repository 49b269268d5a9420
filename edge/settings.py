"""Every environment variable of the edge, read once, at its start; docs/configuration.md explains each."""

import os
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from app.rules.addresses import MalformedNetwork, read_networks
from app.wire.agreement import Agreement, Durability
from app.wire.rates import EXCEPTIONS_PATTERN, Allowances, RateLimits, read_allowances
from app.wire.slots import REDIS_URL_PATTERN

Port = Annotated[int, Meta(ge=1, le=65_535)]
Secret = Annotated[str, Meta(min_length=32)]
Requests = Annotated[int, Meta(ge=1, le=1_000_000_000_000)]
LogRequests = Literal["all", "errors", "none"]


class SettingsError(Exception):
    """Variables that are missing or cannot be used, one line each."""


class EdgeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Of `python -m edge.main`."""

    edge_host: str = "127.0.0.1"
    edge_port: Port = 8001
    edge_workers: Annotated[int, Meta(ge=1, le=256)] = 2
    edge_stop_delay_seconds: Annotated[int, Meta(ge=0, le=300)] = 0
    redis_url: Annotated[str, Meta(pattern=REDIS_URL_PATTERN)]
    core_internal_url: Annotated[str, Meta(pattern="^https?://[^/]+$")] = "http://127.0.0.1:8002"
    internal_secret: Secret
    key_pepper: Secret
    partitions: Annotated[int, Meta(ge=1, le=4096)] = 64
    idempotency_window_seconds: Annotated[int, Meta(ge=60, le=2_592_000)] = 86_400
    stream_max_entries: Annotated[int, Meta(ge=1)] = 1_000_000
    durability: Durability = "always"
    spool_directory: str = "var/spool"
    spool_max_bytes: Annotated[int, Meta(ge=0)] = 1024 * 1024 * 1024
    metrics_token: Secret | None = None
    rate_limit_key_requests: Requests = 6_000_000
    rate_limit_tenant_requests: Requests = 12_000_000
    rate_limit_window_seconds: Annotated[int, Meta(ge=1, le=3_600)] = 60
    rate_limit_exceptions: Annotated[str, Meta(pattern=EXCEPTIONS_PATTERN)] = ""
    log_requests: LogRequests = "errors"
    trusted_proxies: str = "127.0.0.0/8,::1/128"
    log_level: Annotated[str, Meta(pattern="^(debug|info|warning|error)$")] = "info"

    def agreement(self) -> Agreement:
        """What this process shares with every other, for comparing."""
        return Agreement(self.partitions, self.idempotency_window_seconds)

    def allowances(self) -> Allowances:
        """How many requests are answered."""
        most = (self.rate_limit_key_requests, self.rate_limit_tenant_requests)
        return read_allowances(RateLimits(*most, self.rate_limit_window_seconds), self.rate_limit_exceptions)


def read(environ: Mapping[str, str] = os.environ) -> EdgeSettings:
    """The settings from the variables that bear their names in capitals; an empty one counts as missing.

    Raises SettingsError that names everything that is wrong at once, and shows no value.
    """
    values: dict[str, object] = {}
    wrong: list[str] = []
    for field in msgspec.structs.fields(EdgeSettings):
        name = field.name.upper()
        text = environ.get(name)
        if not text:
            if field.required:
                wrong.append(f"{name} is not set")
            continue
        try:
            values[field.name] = msgspec.convert(text, field.type, strict=False)
        except msgspec.ValidationError as error:
            wrong.append(f"{name}: {error}")
    try:
        read_networks(str(values.get("trusted_proxies", "")))
    except MalformedNetwork as error:
        wrong.append(f"TRUSTED_PROXIES: {error}")
    if wrong:
        raise SettingsError("\n".join(wrong))
    return msgspec.convert(values, EdgeSettings)
