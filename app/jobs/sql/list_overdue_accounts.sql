-- Accounts with reservations that are open in the ledger long after they fell due ($1), after ($2, $3, $4). On a test clock
-- whoever moves that clock on ends them.
SELECT r.expires_at, r.environment_id, r.id, a.end_user_id
FROM reservations r
JOIN accounts a ON a.environment_id = r.environment_id AND a.id = r.account_id
WHERE r.state = 'open' AND r.expires_at <= $1 AND (r.expires_at, r.environment_id, r.id) > ($2, $3, $4)
  AND NOT EXISTS (SELECT FROM test_clocks c WHERE c.environment_id = r.environment_id)
ORDER BY r.expires_at, r.environment_id, r.id
LIMIT $5
