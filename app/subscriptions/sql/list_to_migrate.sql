-- Subscriptions to a variant that are not on its newest version and have not ended, by their ids, after the id $3.
SELECT s.environment_id, s.customer_id, s.id, s.rules, s.created_at, s.is_free, s.trial_plan_id, s.counted_from, s.set_aside,
       s.used_before, s.changes,
       (SELECT c.end_user_id FROM customers c WHERE c.environment_id = s.environment_id AND c.id = s.customer_id) AS end_user_id
FROM subscriptions s
WHERE s.environment_id = $1 AND s.variant_id = $2 AND s.id > $3 AND s.state NOT IN ('canceled', 'expired')
  AND s.variant_version_id <> (SELECT v.current_version_id FROM plan_variants v WHERE v.environment_id = $1 AND v.id = $2)
ORDER BY s.id
LIMIT $4
