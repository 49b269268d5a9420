-- Accounts that agree again.
DELETE FROM drifting_accounts d
USING unnest($1::uuid[], $2::uuid[]) AS g (environment_id, account_id)
WHERE d.environment_id = g.environment_id AND d.account_id = g.account_id
