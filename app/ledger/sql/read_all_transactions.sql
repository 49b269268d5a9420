-- Every transaction of some accounts in order, each with its lines as names and amounts.
SELECT t.account_id, t.seq, t.id, t.kind, t.actor, t.reason, t.idempotency_key, t.total_before_micro,
       t.total_after_micro, t.events_digest, t.posted_at, t.previous_hash, t.hash, l.names, l.amounts
FROM ledger_transactions t
JOIN unnest($1::uuid[], $2::uuid[]) AS asked (environment_id, account_id) USING (environment_id, account_id)
LEFT JOIN LATERAL (
    SELECT array_agg(l.account_name ORDER BY l.line) AS names, array_agg(l.amount_micro ORDER BY l.line) AS amounts
    FROM ledger_lines l
    WHERE l.environment_id = t.environment_id AND l.account_id = t.account_id AND l.seq = t.seq
) AS l ON true
ORDER BY t.environment_id, t.account_id, t.seq
