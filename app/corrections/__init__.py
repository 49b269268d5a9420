"""Corrections: voids of usage and grants, and credit that is taken away.

Owns: what orders do to an account, and what became of each.
Invariants: 8 (a correction is a new entry), 14 (an order has one effect, for ever), 40 (its fate does not depend on how
far the flusher lags).
Tables: ledger_orders.
Neighbours: ledger (accounts, blocks, events), flusher (carries orders out in stream order), entitlements (gives them).
Not mine: adding credit (ledger); the order of the stream (flusher); what a release of reserved credit returns.
"""
