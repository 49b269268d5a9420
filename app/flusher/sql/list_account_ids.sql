-- Accounts of end users.
SELECT a.environment_id, a.id
FROM accounts a
JOIN unnest($1::uuid[], $2::text[]) AS asked (environment_id, end_user_id) USING (environment_id, end_user_id)
