-- Accounts at which something is due that nobody has posted yet, the longest overdue first.
SELECT a.environment_id, a.end_user_id
FROM accounts a
WHERE a.valid_until <= $1
ORDER BY a.valid_until
LIMIT $2
