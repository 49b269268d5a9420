-- Accounts of the environment whose publishing has not been confirmed yet.
SELECT account_id FROM dirty_accounts WHERE environment_id = $1 ORDER BY account_id LIMIT $2
