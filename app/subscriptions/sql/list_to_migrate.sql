-- Subscriptions to a variant that are not on its newest version and have not ended, in the order in which they were made.
SELECT s.environment_id, s.customer_id, s.id, s.rules, s.created_at, s.is_free, s.trial_plan_id, s.counted_from, s.set_aside,
       s.used_before, s.changes, c.end_user_id
FROM subscriptions s
JOIN customers c ON c.environment_id = s.environment_id AND c.id = s.customer_id
JOIN plan_variants v ON v.environment_id = s.environment_id AND v.id = s.variant_id
WHERE s.environment_id = $1 AND s.variant_id = $2 AND s.variant_version_id <> v.current_version_id
  AND s.state NOT IN ('canceled', 'expired') AND ($3::uuid IS NULL OR s.id > $3)
ORDER BY s.id
LIMIT $4
