"""How a process begins and ends: settings, logs, uvloop, and signals that let the work under way finish."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

import structlog
import uvloop
from structlog.typing import EventDict, Processor

from app.io.redis import AgreementMismatch
from app.io.tracing import recording
from app.settings import ProcessSettings, Secret, SettingsError, read
from app.wire.redaction import Redactor, secrets_of

Settings = TypeVar("Settings", bound=ProcessSettings)


def configure_logging(level: str, process: str, redactor: Redactor) -> None:
    """JSON lines on standard error (docs/logs.md), with whatever the context of the request binds; nothing secret.

    What libraries log through Python's own logging has the same form.
    """
    ours: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _Named(process),
        structlog.processors.format_exc_info,
    ]
    last: list[Processor] = [
        structlog.processors.JSONRenderer(),
        lambda _logger, _name, line: redactor.redact(cast("str", line)),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
            foreign_pre_chain=ours,
        )
    )
    logging.basicConfig(level=max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]), handlers=[handler])
    structlog.configure(
        processors=[*ours, *last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


class _Named:
    """Says which process a line is of."""

    def __init__(self, process: str) -> None:
        self._process = process

    def __call__(self, _logger: object, _method: str, line: EventDict) -> EventDict:
        """Add it."""
        line["process"], line["pid"] = self._process, os.getpid()
        return line


def stop_as_interrupted() -> None:
    """Have SIGTERM end a command as Ctrl-C does, also one that a shell started in the background, deaf to Ctrl-C.

    `asyncio.run` answers SIGINT by cancelling its task. A handler that raised in the middle of a callback would leave
    a driver without the answer it just read, and the end waiting for it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda _number, _frame: signal.raise_signal(signal.SIGINT))


def run_until_stopped(kind: type[Settings], main: Callable[[asyncio.Event, Settings], Awaitable[None]]) -> None:
    """Run `main(stop, settings)` until SIGTERM or SIGINT sets `stop` and it returns.

    Exits with 1 and one line for settings that cannot be used, or that the data in Redis does not share.
    """
    try:
        settings = read(kind)
        configure_logging(settings.log_level, settings.role, Redactor(secrets_of(settings, Secret)))
        with recording(settings.otel_exporter_otlp_endpoint, f"quotastack-{settings.role}"):
            uvloop.run(_with_signals(main, settings))
    except (SettingsError, AgreementMismatch) as error:
        sys.exit(str(error))


async def _with_signals(main: Callable[[asyncio.Event, Settings], Awaitable[None]], settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await main(stop, settings)
