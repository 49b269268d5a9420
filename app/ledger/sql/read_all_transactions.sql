-- Every transaction of the accounts that read_all_accounts reads, in their order and by seq.
SELECT t.environment_id, t.account_id, t.seq, t.id, t.kind, t.actor, t.reason, t.idempotency_key, t.total_before_micro,
       t.total_after_micro, t.events_digest, t.posted_at, t.previous_hash, t.hash
FROM ledger_transactions t
WHERE ($1::uuid[] IS NULL OR t.environment_id = ANY($1)) AND ($2::uuid[] IS NULL OR t.account_id = ANY($2))
ORDER BY t.environment_id, t.account_id, t.seq
