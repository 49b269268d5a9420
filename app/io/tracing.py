"""Traces: which trace a request belongs to, and where the operator names a collector, what each part of it took.

A `traceparent` (W3C Trace Context) that came in is passed on whether or not anything is recorded. Spans are recorded
where OTEL_EXPORTER_OTLP_ENDPOINT is set, by OpenTelemetry (app/io/otlp.py), which is loaded then and not before. What
stands in a span is ours: names of routes, counts, ids that we made. Never a header, a body, a path as it was sent or an
address of a store.
"""

import re
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from types import MappingProxyType
from typing import Literal, Protocol

from app.settings import SettingsError

Attributes = Mapping[str, str | int | bool]
NO_ATTRIBUTES: Attributes = MappingProxyType({})
Kind = Literal["server", "client", "internal"]
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Span(Protocol):
    """What is being done. Of what is not recorded nothing is kept."""

    def rename(self, name: str) -> None:
        """Give it the name that is known only now."""
        ...

    def note(self, attributes: Attributes) -> None:
        """Say more of it."""
        ...


class Recorder(Protocol):
    """Records spans and sends them to a collector."""

    def span(self, name: str, attributes: Attributes, kind: Kind, parent: str | None) -> AbstractContextManager[Span]:
        """A span under `parent`, else under the one that is being recorded. What is raised within is told of it."""
        ...

    def traceparent(self) -> str | None:
        """The span that is being recorded; None = none is."""
        ...

    def close(self) -> None:
        """Send what is left, within a bound."""
        ...


class _NotRecorded:
    def rename(self, name: str) -> None:
        """Nothing."""

    def note(self, attributes: Attributes) -> None:
        """Nothing."""


_nothing = nullcontext(_NotRecorded())
_came_in: ContextVar[str | None] = ContextVar("traceparent", default=None)
_recorder: Recorder | None = None


def read_traceparent(header: str | None) -> str | None:
    """The header, where it has the form of version 00 and names a trace and a span; else None."""
    return header if header is not None and _TRACEPARENT.fullmatch(header) else None


def span(
    name: str, attributes: Attributes = NO_ATTRIBUTES, *, kind: Kind = "internal", parent: str | None = None
) -> AbstractContextManager[Span]:
    """Record what is done in the block; costs nothing where nobody asks for it.

    `parent` is a traceparent that came from outside, where there is one. Attributes are named as OpenTelemetry names
    them, such as `http.route`; ours begin with `quotastack.`.
    """
    return _nothing if _recorder is None else _recorder.span(name, attributes, kind, parent)


def part(name: str, attributes: Attributes = NO_ATTRIBUTES, *, kind: Kind = "internal") -> AbstractContextManager[Span]:
    """The same for what is of interest only as a part of something: outside of any span it is not recorded."""
    if _recorder is None or _recorder.traceparent() is None:
        return _nothing
    return _recorder.span(name, attributes, kind, None)


@contextmanager
def within_trace(header: str | None) -> Generator[str | None]:
    """Have what is done in the block belong to the trace that a request names; what it names, if it does."""
    token = _came_in.set(read_traceparent(header))
    try:
        yield _came_in.get()
    finally:
        _came_in.reset(token)


def current_traceparent() -> str | None:
    """What to pass on: the span that is being recorded, else what came in with the request; None = no trace."""
    return (None if _recorder is None else _recorder.traceparent()) or _came_in.get()


@contextmanager
def recording(endpoint: str | None, service: str) -> Generator[None]:
    """Record spans while the block runs and send them to `endpoint`; None = record nothing.

    Raises SettingsError where that is asked for and OpenTelemetry is not installed.
    """
    global _recorder  # noqa: PLW0603 - one process, one collector
    if endpoint is None:
        yield
        return
    try:
        from app.io.otlp import OpenTelemetry  # noqa: PLC0415 - an extra, and heavy: only where a collector is named
    except ModuleNotFoundError as error:
        message = "OTEL_EXPORTER_OTLP_ENDPOINT is set, and the extra is missing: pip install 'quotastack[tracing]'"
        raise SettingsError(message) from error
    _recorder = OpenTelemetry(endpoint, service)
    try:
        yield
    finally:
        _recorder.close()
        _recorder = None
