-- An account to be loaded, the cursor of its partition, and the clock of its environment, at the same moment.
SELECT a.environment_id, a.id, a.end_user_id, a.revision, a.total_micro, a.applied_micro, a.valid_until, a.posted_at, a.snapshot_id,
       a.subscription_status, a.reserved_micro, a.open_reservations, a.calendar, a.period_start_at, a.period_end_at,
       counters.counted_features, counters.counted_units, c.incarnation, c.last_id, t.frozen_at
FROM accounts a
LEFT JOIN stream_cursors c ON c.partition = $3
LEFT JOIN test_clocks t ON t.environment_id = a.environment_id
LEFT JOIN LATERAL (
    SELECT array_agg(u.feature_key) AS counted_features, array_agg(u.units_micro) AS counted_units
    FROM usage_counters u
    WHERE u.environment_id = a.environment_id AND u.account_id = a.id AND u.period_at = a.period_start_at
) AS counters ON true
WHERE a.environment_id = $1 AND a.end_user_id = $2
