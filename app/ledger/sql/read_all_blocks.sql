-- Every block of some accounts, spent ones too.
SELECT b.account_id, b.id, b.granted_micro, b.remaining_micro
FROM credit_blocks b
JOIN unnest($1::uuid[], $2::uuid[]) AS asked (environment_id, account_id) USING (environment_id, account_id)
