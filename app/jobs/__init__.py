"""What has to happen without anybody asking.

Owns: ticks for accounts that nobody touches, and partitions for the months to come. The flusher posts what is due.
Invariants: 52 (catching up = having run on time).
Tables: reads accounts.
Neighbours: entitlements (loading), ledger (whose partitions it makes), io.redis (the tick script).
Not mine: posting anything to the ledger.
"""
