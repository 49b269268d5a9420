"""What has to happen without anybody asking.

Owns: ticks for accounts that nobody touches. Ticks are all that it adds: the flusher posts what is due.
Invariants: 52 (catching up = having run on time).
Tables: reads accounts.
Neighbours: entitlements (loading), io.redis (the tick script).
Not mine: posting anything to the ledger.
"""
