-- Accounts after ($1, $2) in the order of their key, of all environments.
SELECT a.environment_id, a.id, a.end_user_id
FROM accounts a
WHERE (a.environment_id, a.id) > ($1, $2)
ORDER BY a.environment_id, a.id
LIMIT $3
