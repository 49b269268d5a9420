-- Counted units of accounts by feature and period, added to what is there, in the one order that every writer keeps.
INSERT INTO usage_counters AS c (environment_id, account_id, period_at, feature_key, units_micro)
SELECT environment_id, account_id, period_at, feature_key, sum(units_micro)
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::numeric[])
     AS added (environment_id, account_id, period_at, feature_key, units_micro)
GROUP BY environment_id, account_id, period_at, feature_key
ORDER BY environment_id, account_id, period_at, feature_key
ON CONFLICT (environment_id, account_id, period_at, feature_key) DO UPDATE
SET units_micro = c.units_micro + excluded.units_micro
