"""Reservations: credit that is set aside before it is known what will be used of it.

Owns: the rows that say what each reservation is and where it stands, and reading them for those who ask.
Invariants: 28 (what is set aside is opened less used less returned), 29 (one end), 31 (a release gives back what was
drawn), 32 (a repeated call charges nothing more).
Tables: reservations.
Neighbours: ledger (accounts, blocks, lines), flusher (posts openings and ends in stream order, and writes these rows),
entitlements (brings open ones into Redis with their account).
Not mine: who may reserve (the edge's scripts); what an end does to blocks (flusher/reserving, ledger/returning).
"""
