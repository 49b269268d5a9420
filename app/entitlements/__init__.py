"""What a customer may do, as the edge hears of it.

Owns: the one composition of plan snapshots; publishing accounts to Redis and loading them there.
Invariants: 37 (`revision` in Redis never goes back), 42 (after drain and rebuild, edge = ledger), 45 (a check after an
acknowledgement includes it).
Tables: snapshots; reads features, prices, plans, overrides, subscriptions; keeps accounts.snapshot_id, until when it
holds, the calendar and period by which an account counts, and dirty_accounts.
Neighbours: ledger (accounts), reservations (open ones come with their account), subscriptions and plans (read),
trail.dirty (the marks that lead here), io.redis.
Not mine: deciding a request (rules/entitlement at the edge); posting (ledger, flusher).
"""
