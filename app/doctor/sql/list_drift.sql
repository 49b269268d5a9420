-- Accounts that do not agree, the first finds first.
SELECT d.environment_id, a.end_user_id, d.findings, d.found_at
FROM drifting_accounts d
JOIN accounts a ON a.environment_id = d.environment_id AND a.id = d.account_id
ORDER BY d.found_at, d.environment_id, d.account_id
LIMIT $1
