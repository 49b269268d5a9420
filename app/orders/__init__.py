"""Orders: what core wants done to an account, carried out by the flusher in its place in the stream.

Owns: giving orders, and what became of each.
Invariants: 14 (an order has one effect, for ever), 40 (its fate does not depend on how far the flusher lags).
Tables: ledger_orders.
Neighbours: corrections and subscriptions (give orders), flusher (carries them out and keeps what became of them).
Not mine: what an order does (corrections, subscriptions); the order of the stream (flusher).
"""
