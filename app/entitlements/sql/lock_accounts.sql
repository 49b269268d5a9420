-- Accounts, locked in the order of every writer, with the plan version that their subscription in force is on.
SELECT a.id, s.state, s.variant_version_id, s.anchor_at, v.interval_unit, v.interval_count, a.posted_at, a.calendar,
       a.period_start_at, a.period_end_at
FROM accounts a
LEFT JOIN subscriptions s ON s.environment_id = a.environment_id AND s.customer_id = a.id
     AND s.state NOT IN ('canceled', 'expired')
LEFT JOIN plan_variant_versions v ON v.environment_id = s.environment_id AND v.id = s.variant_version_id
WHERE a.environment_id = $1 AND a.id = ANY($2::uuid[])
ORDER BY a.environment_id, a.id
FOR UPDATE OF a
