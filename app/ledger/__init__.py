"""Credits: who has how many, and why.

Owns: accounts, credit blocks, transactions and their lines, usage events and their sums, checkpoints; explaining where
    an amount would come from; `quotastack ledger verify`.
Invariants: 1-13 (conservation, versions), 22-27 (burn order and expiry), 61-62 (usage).
Tables: accounts, credit_blocks, ledger_transactions, ledger_lines, usage_events, usage_event_keys, usage_hours,
    usage_counters, ledger_checkpoints, ledger_checkpoint_heads.
Neighbours: flusher posts usage and what falls due; subscriptions and topups grant; corrections order; entitlements
    publishes the totals; jobs takes the checkpoints.
Not mine: which block is spent first (rules/burndown), what an event costs (rules/pricing), the stream (flusher).
"""
