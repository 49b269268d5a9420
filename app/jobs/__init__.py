"""What has to happen without anybody asking.

Owns: when ticks are left for accounts that nobody touches, when reservations that are past due are expired, when
accounts are loaded that hold what should have ended, and when customers are enrolled whom core did not come to enrol;
when what edges know of API keys is put right, and their use written down; partitions for the months to come, and when
the ledger's daily checkpoints are taken; when idempotency keys are forgotten; finding what does not agree, while
everything runs (reconcile). To the ledger it adds nothing else: the flusher posts what is due.
Of what is told: the one process that places events, those that send webhooks, and when all of it is forgotten.
Invariants: 33 (nothing is reserved past its due time plus EXPIRY_LAG_SECONDS), 52 (catching up = having run on time).
Tables: drifting_accounts, reconciliation; reads accounts, reservations, customers, subscriptions, environments and what
is set for them.
Neighbours: entitlements (loading), ledger (partitions, checkpoints, looks at accounts), io.redis (the tick script),
io.reservations (the script that expires), subscriptions (the order that enrols), tenants (API
keys), trail (idempotency keys), webhooks (places, queues, attempts).
Not mine: posting anything to the ledger.
"""
