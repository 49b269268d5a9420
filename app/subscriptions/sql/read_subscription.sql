-- One subscription, with its customer's name.
SELECT s.environment_id, s.customer_id, s.id, s.rules, s.created_at, s.is_free, s.trial_plan_id, s.counted_from, s.set_aside,
       s.used_before, s.changes, c.end_user_id
FROM subscriptions s
JOIN customers c ON c.environment_id = s.environment_id AND c.id = s.customer_id
WHERE s.environment_id = $1 AND s.id = $2
