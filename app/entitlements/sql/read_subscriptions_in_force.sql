-- What these accounts' customers are subscribed to, as far as it has begun and has not ended, in the order of subscribing.
SELECT s.customer_id, s.variant_version_id, s.plan_kind, s.state, coalesce(s.counted_from, s.period_start_at) AS counted_from,
       s.period_end_at, v.allow_usage_while_overdue, v.usable_while_paused
FROM subscriptions s
JOIN plan_variant_versions v ON v.environment_id = s.environment_id AND v.id = s.variant_version_id
WHERE s.environment_id = $1 AND s.customer_id = ANY($2::uuid[]) AND s.state IN ('trialing', 'active', 'paused', 'overdue')
ORDER BY s.customer_id, s.created_at, s.id
