-- Whose usage event or credit block this is.
SELECT a.id, a.end_user_id
FROM accounts a
WHERE a.environment_id = $1 AND a.id = coalesce(
    (SELECT e.account_id FROM usage_events e WHERE e.environment_id = $1 AND e.id = $2),
    (SELECT b.account_id FROM credit_blocks b WHERE b.environment_id = $1 AND b.id = $3))
