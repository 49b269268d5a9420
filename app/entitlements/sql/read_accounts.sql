-- What is published of accounts: all figures of one moment.
SELECT a.environment_id, a.id, a.end_user_id, a.revision, a.total_micro, a.applied_micro, a.valid_until, a.posted_at, a.snapshot_id,
       a.subscription_status, a.calendar, a.period_start_at, a.period_end_at, counters.counted_features,
       counters.counted_units
FROM accounts a
JOIN unnest($1::uuid[], $2::uuid[]) AS asked (environment_id, id) USING (environment_id, id)
LEFT JOIN LATERAL (
    SELECT array_agg(c.feature_key) AS counted_features, array_agg(c.units_micro) AS counted_units
    FROM usage_counters c
    WHERE c.environment_id = a.environment_id AND c.account_id = a.id AND c.period_at = a.period_start_at
) AS counters ON true
