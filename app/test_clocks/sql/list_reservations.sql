-- Open reservations of the environment that fall due by $2, after ($3, $4), the first first.
SELECT r.expires_at, r.id, a.end_user_id
FROM reservations r
JOIN accounts a ON a.environment_id = r.environment_id AND a.id = r.account_id
WHERE r.environment_id = $1 AND r.state = 'open' AND r.expires_at <= $2 AND (r.expires_at, r.id) > ($3, $4)
ORDER BY r.expires_at, r.id
LIMIT $5
