"""Corrections: voids of usage and grants, and credit that is taken away.

Owns: what such orders do to an account.
Invariants: 8 (a correction is a new entry).
Tables: none.
Neighbours: orders (gives them), ledger (accounts, blocks, events), flusher (carries them out in stream order).
Not mine: adding credit (ledger); the order of the stream (flusher); what a release of reserved credit returns.
"""
