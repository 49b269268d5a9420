-- Whose usage event or credit block this is.
SELECT a.id, a.end_user_id
FROM accounts a
WHERE a.environment_id = $1 AND a.id = coalesce(
    (SELECT k.account_id FROM usage_event_keys k WHERE k.environment_id = $1 AND k.id = $2),
    (SELECT b.account_id FROM credit_blocks b WHERE b.environment_id = $1 AND b.id = $3))
