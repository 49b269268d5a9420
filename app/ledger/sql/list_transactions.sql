-- Transactions of an account, newest first, below the number $3.
SELECT t.id, t.seq, t.kind, t.actor, t.reason, t.idempotency_key, t.total_before_micro, t.total_after_micro, t.posted_at,
       t.recorded_at
FROM ledger_transactions t
WHERE t.environment_id = $1 AND t.account_id = $2 AND t.seq < $3
ORDER BY t.seq DESC
LIMIT $4
