-- Whose subscriptions they are, and up to when something was posted.
SELECT a.environment_id, a.id, a.end_user_id, a.posted_at FROM accounts a WHERE a.environment_id = $1 AND a.id = $2
