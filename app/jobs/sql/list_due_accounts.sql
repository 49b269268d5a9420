-- Accounts at which something is due that nobody has posted yet, the longest overdue first, after ($2, $3, $4).
SELECT a.valid_until, a.environment_id, a.id, a.end_user_id
FROM accounts a
WHERE a.valid_until <= $1 AND (a.valid_until, a.environment_id, a.id) > ($2, $3, $4)
ORDER BY a.valid_until, a.environment_id, a.id
LIMIT $5
