-- The accounts of one end user, in one environment or in all (NULL).
SELECT a.environment_id, a.id
FROM accounts a
WHERE a.end_user_id = $2 AND ($1::uuid IS NULL OR a.environment_id = $1)
ORDER BY a.environment_id, a.id
