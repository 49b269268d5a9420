-- What is counted of accounts since their present periods began.
SELECT c.account_id, c.period_at, c.feature_key, c.units_micro
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS asked (environment_id, account_id, since)
JOIN usage_counters c USING (environment_id, account_id)
WHERE c.period_at >= asked.since
