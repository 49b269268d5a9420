"""What the flusher counts of its batches; docs/metrics.md says what each figure is good for."""

from app.flusher.posting import Posting
from app.io import metrics
from app.wire.codes import Code

BATCH_SECONDS = metrics.histogram("quotastack_flusher_batch_seconds", "From the beginning of a batch to its commit")
PUBLISH_SECONDS = metrics.histogram("quotastack_flusher_publish_seconds", "From a batch's commit until it is published")
LEASES = metrics.gauge("quotastack_flusher_leases", "Partitions that this process owns and whose memory it looked at")
FAILED_TURNS = metrics.counter("quotastack_flusher_failed_turns_total", "Turns that a store or another owner broke off")
_ENTRIES = metrics.counter("quotastack_flusher_entries_total", "Entries of the stream that are behind a cursor now")
_DUPLICATES = metrics.counter("quotastack_flusher_duplicates_total", "Events that the ledger had already")
_REJECTED = metrics.counter("quotastack_flusher_rejected_total", "Entries that were listed as rejected", ["code"])
_KNOWN = frozenset(code.value for code in Code)
OTHER = "other"
"""The label of a code that this release does not know: an entry may come from a later edge."""


def count_batch(entries: int, posting: Posting) -> None:
    """A batch is committed."""
    _ENTRIES.inc(entries)
    _DUPLICATES.inc(posting.duplicates)
    for rejected in posting.rejected:
        _REJECTED.labels(rejected.code if rejected.code in _KNOWN else OTHER).inc()
