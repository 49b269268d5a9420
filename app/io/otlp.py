"""OpenTelemetry: spans to a collector, as protobuf over HTTP. The only importer of it.

They are sent from a thread of its own, in batches; where the collector is away, spans are dropped and nothing waits.
The SDK reads what else OpenTelemetry defines from its own variables: OTEL_TRACES_SAMPLER, OTEL_RESOURCE_ATTRIBUTES,
OTEL_EXPORTER_OTLP_HEADERS.
"""

from collections.abc import Generator
from contextlib import contextmanager
from threading import Thread

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

from app.io.tracing import Attributes, Kind

PATH = "/v1/traces"
SEND_SECONDS = 5
"""How long a collector may take for a batch."""
CLOSE_SECONDS = 2.0
"""How long a process that ends waits until what is left is sent."""
_KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}


class _Span:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def rename(self, name: str) -> None:
        """Give it the name that is known only now."""
        self._span.update_name(name)

    def note(self, attributes: Attributes) -> None:
        """Say more of it."""
        self._span.set_attributes(attributes)


class OpenTelemetry:
    """The recorder of `app.io.tracing`."""

    def __init__(self, endpoint: str, service: str) -> None:
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: service}), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + PATH, timeout=SEND_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("quotastack")

    @contextmanager
    def span(self, name: str, attributes: Attributes, kind: Kind, parent: str | None) -> Generator[_Span]:
        """A span that is current in the block. Of what is raised its kind is told, and not its words."""
        context = None if parent is None else trace.set_span_in_context(_remote(parent))
        with self._tracer.start_as_current_span(
            name,
            context,
            kind=_KINDS[kind],
            attributes=attributes,
            record_exception=False,  # its words may hold what a client sent
            set_status_on_exception=False,
        ) as span:
            try:
                yield _Span(span)
            except BaseException as error:
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise

    def traceparent(self) -> str | None:
        """The current span as a header; None = there is none."""
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return None
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def close(self) -> None:
        """Send what is left, for as long as CLOSE_SECONDS: the SDK would try for much longer."""
        closing = Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)


def _remote(traceparent: str) -> trace.Span:
    _, trace_id, span_id, flags = (int(part, 16) for part in traceparent.split("-"))
    context = trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=trace.TraceFlags(flags))
    return trace.NonRecordingSpan(context)
