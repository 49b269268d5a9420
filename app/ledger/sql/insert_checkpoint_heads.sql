-- Heads of an environment's chains that moved since its last checkpoint.
INSERT INTO ledger_checkpoint_heads (environment_id, account_id, seq, day, hash)
SELECT a.environment_id, a.id, a.seq, $2, a.head_hash
FROM accounts a
LEFT JOIN LATERAL (
    SELECT h.seq FROM ledger_checkpoint_heads h
    WHERE h.environment_id = a.environment_id AND h.account_id = a.id
    ORDER BY h.seq DESC
    LIMIT 1
) AS newest ON true
WHERE a.environment_id = $1 AND a.seq > coalesce(newest.seq, 0)
