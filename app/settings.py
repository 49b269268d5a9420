"""Every environment variable of core, flusher, jobs and the command line; docs/configuration.md explains each.

Each process reads the struct that holds what it needs and nothing more, once, at its start.
"""

import os
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from app.rules.addresses import MalformedNetwork, read_networks
from app.wire.agreement import Agreement, Durability
from app.wire.rates import EXCEPTIONS_PATTERN, Allowances, RateLimits, read_allowances
from app.wire.slots import REDIS_URL_PATTERN

Port = Annotated[int, Meta(ge=0, le=65_535)]
Secret = Annotated[str, Meta(min_length=32)]
Requests = Annotated[int, Meta(ge=1, le=1_000_000_000_000)]
PostgresUrl = Annotated[str, Meta(pattern="^postgres(ql)?://")]
RedisUrl = Annotated[str, Meta(pattern=REDIS_URL_PATTERN)]
HttpUrl = Annotated[str, Meta(pattern="^https?://[^/]+$")]
LogLevel = Annotated[str, Meta(pattern="^(debug|info|warning|error)$")]
Read = TypeVar("Read", bound=msgspec.Struct)


class SettingsError(Exception):
    """Variables that are missing or cannot be used, one line each."""


class ProcessSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every process that works on accounts needs."""

    redis_url: RedisUrl
    partitions: Annotated[int, Meta(ge=1, le=4096)] = 64
    idempotency_window_seconds: Annotated[int, Meta(ge=60, le=2_592_000)] = 86_400
    billing_timezone: str = "UTC"
    log_level: LogLevel = "info"
    metrics_token: Secret | None = None
    otel_exporter_otlp_endpoint: Annotated[str, Meta(pattern=r"^https?://\S+$")] | None = None
    role = "quotastack"
    """What the process is called in logs and traces."""

    def agreement(self) -> Agreement:
        """What this process shares with every other, for comparing."""
        return Agreement(self.partitions, self.idempotency_window_seconds)

    def billing_zone(self) -> ZoneInfo:
        """The zone in which periods are counted."""
        return ZoneInfo(self.billing_timezone)


class CoreSettings(ProcessSettings, frozen=True, kw_only=True):
    """Of `python -m app.main`."""

    core_database_url: PostgresUrl
    core_host: str = "127.0.0.1"
    core_port: Port = 8000
    core_internal_host: str = "127.0.0.1"
    core_internal_port: Port = 8002
    edge_url: HttpUrl = "http://127.0.0.1:8001"
    stream_max_entries: Annotated[int, Meta(ge=1)] = 1_000_000
    admin_token: Secret
    key_pepper: Secret
    internal_secret: Secret
    webhook_key: Secret
    webhook_allowed_networks: str = ""
    webhook_https_only: Literal["always", "live", "never"] = "live"
    trusted_proxies: str = "127.0.0.0/8,::1/128"
    ready_max_flush_lag_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 60
    rate_limit_key_requests: Requests = 6_000_000
    rate_limit_tenant_requests: Requests = 12_000_000
    rate_limit_window_seconds: Annotated[int, Meta(ge=1, le=3_600)] = 60
    rate_limit_exceptions: Annotated[str, Meta(pattern=EXCEPTIONS_PATTERN)] = ""
    role = "core"

    def allowances(self) -> Allowances:
        """How many requests are answered."""
        most = (self.rate_limit_key_requests, self.rate_limit_tenant_requests)
        return read_allowances(RateLimits(*most, self.rate_limit_window_seconds), self.rate_limit_exceptions)


class ProbedSettings(ProcessSettings, frozen=True, kw_only=True):
    """Of a process that has no listener but the one for probes and the collector of figures."""

    metrics_host: str = "127.0.0.1"


class FlusherSettings(ProbedSettings, frozen=True, kw_only=True):
    """Of `python -m app.flusher`."""

    flusher_database_url: PostgresUrl
    flusher_metrics_port: Port = 0
    role = "flusher"
    trim_lag_seconds: Annotated[int, Meta(ge=0, le=86_400)] = 600
    stream_max_entries: Annotated[int, Meta(ge=1_000)] = 1_000_000


class JobsSettings(ProbedSettings, frozen=True, kw_only=True):
    """Of `python -m app.jobs`."""

    jobs_database_url: PostgresUrl
    webhook_key: Secret
    webhook_allowed_networks: str = ""
    jobs_metrics_port: Port = 0
    role = "jobs"


class OwnerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Of the commands that migrate and verify."""

    database_url: PostgresUrl
    core_database_url: PostgresUrl
    flusher_database_url: PostgresUrl
    jobs_database_url: PostgresUrl


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Of `quotastack run`: where the embedded servers keep their data, and which servers are used in their place."""

    var_dir: str = "var"
    durability: Durability = "always"
    database_url: PostgresUrl | None = None
    redis_url: RedisUrl | None = None


def read(kind: type[Read], environ: Mapping[str, str] = os.environ) -> Read:
    """The struct from the variables that bear its fields' names in capitals; an empty one counts as missing.

    Raises SettingsError that names everything that is wrong at once, and shows no value.
    """
    values: dict[str, object] = {}
    wrong: list[str] = []
    for field in msgspec.structs.fields(kind):
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
    zone = values.get("billing_timezone")
    if isinstance(zone, str) and not _is_zone(zone):
        wrong.append("BILLING_TIMEZONE: no such zone; use a name such as Europe/Berlin")
    for name in ("webhook_allowed_networks", "trusted_proxies"):
        try:
            read_networks(str(values.get(name, "")))
        except MalformedNetwork as error:
            wrong.append(f"{name.upper()}: {error}")
    if wrong:
        raise SettingsError("\n".join(wrong))
    return kind(**values)


def all_variables(environ: Mapping[str, str] = os.environ) -> Mapping[str, str]:
    """Every variable that is set, for `quotastack doctor`, which looks at those of all processes."""
    return dict(environ)


def point_piccolo_at(module: str) -> None:
    """Tell Piccolo which module holds its engine and tables; it asks the environment and nothing else."""
    os.environ["PICCOLO_CONF"] = module


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
