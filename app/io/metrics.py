"""What core, flusher and jobs count of themselves: one registry a process, in the form that Prometheus reads.

The only importer of prometheus_client. A metric is made once, at the top of the module that knows the figure; its row
is in docs/metrics.md. No label may have values without a bound: never a customer, an environment or a path as sent. The
edge counts on its own: edge/metrics.py.
"""

from collections.abc import Sequence

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

PREFIX = "quotastack_"
CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper ends of a histogram's buckets, where its metric names no others."""

REGISTRY = CollectorRegistry()
disable_created_metrics()
ProcessCollector(registry=REGISTRY)


class MisnamedMetric(ValueError):
    """A name without the prefix, or without the ending that tells its unit."""


def counter(name: str, help_text: str, labels: Sequence[str] = ()) -> Counter:
    """What only rises; the name ends in `_total`. Raises MisnamedMetric."""
    return Counter(_checked(name, "_total"), help_text, labels, registry=REGISTRY)


def gauge(name: str, help_text: str, labels: Sequence[str] = ()) -> Gauge:
    """What rises and falls. `set_function` has it asked for when it is read. Raises MisnamedMetric."""
    return Gauge(_checked(name), help_text, labels, registry=REGISTRY)


def histogram(name: str, help_text: str, labels: Sequence[str] = (), buckets: Sequence[float] = SECONDS) -> Histogram:
    """How long things took; the name ends in `_seconds`. Raises MisnamedMetric."""
    return Histogram(_checked(name, "_seconds"), help_text, labels, buckets=buckets, registry=REGISTRY)


def exposition() -> bytes:
    """Every figure as it is now, as text of CONTENT_TYPE."""
    return generate_latest(REGISTRY)


def _checked(name: str, ending: str = "") -> str:
    if not name.startswith(PREFIX) or not name.endswith(ending):
        message = f"{name}: a metric's name begins with {PREFIX} and ends in {ending or 'its unit'}"
        raise MisnamedMetric(message)
    return name
