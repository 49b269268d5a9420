"""The flusher: turns the stream into ledger entries, exactly once, and tells the edge.

Owns: the stream cursors, the partition leases and how flushers share them, and the posting of everything that comes or
falls due through the stream. Invariants: 34-43 (edge, stream, flush): a cursor never passes an entry that is neither
posted nor rejected. Tables: stream_cursors, partition_leases, flushers, rejected_events; writes the ledger's tables
through ledger/sql. Neighbours: ledger (book, store), entitlements (publishing), io (stream, postgres). Not mine: what
an event costs (priced once, at the edge); which block is spent first (rules/burndown).
"""
