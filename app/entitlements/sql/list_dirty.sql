-- Accounts whose publishing a crash or an unreachable Redis left undone.
SELECT environment_id, account_id FROM dirty_accounts ORDER BY environment_id, account_id LIMIT $1
