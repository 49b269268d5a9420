-- An account's totals, for showing them.
SELECT a.id, a.end_user_id, a.total_micro, a.debt_micro, a.applied_micro, a.posted_at, a.reserved_micro
FROM accounts a
WHERE a.environment_id = $1 AND a.end_user_id = $2
