"""`quotastack doctor`: what is wrong with a running system, and what to do about it, in words for whoever operates it.

Owns: the checks, each a small function with a name, and what its answer is called: ok, warning, problem, unknown.
Invariants: it changes nothing, neither in Postgres nor in Redis nor on a disk; one check that fails hinders no other.
Tables: reads all; none is its own.
Neighbours: ledger (which tables are guarded), io (stores, migrations), jobs (whose findings of drift it shows).
Not mine: repairing anything, proving the ledger (ledger verify).
"""
