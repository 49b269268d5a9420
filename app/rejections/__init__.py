"""Usage that the ledger could not post: listed, and taken in again.

Owns        the list of what was rejected, and its retries.
Invariants  34, 35: a retry is an entry of the stream like any other; each rejection is retried at most once.
Tables      rejected_events, together with the flusher, which writes what it rejects.
Neighbours  Below: entitlements (loading the account), ledger (what became of an event). Beside: the flusher.
Not mine    Why an entry is rejected (flusher), and what the event costs: that was decided when it first came.
"""
