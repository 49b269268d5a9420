-- Subscriptions of a customer in the order in which they were made, in one state or all, after the id $4.
SELECT s.environment_id, s.customer_id, s.id, s.rules, s.created_at, s.is_free, s.trial_plan_id, s.counted_from, s.set_aside,
       s.used_before, s.changes, c.end_user_id
FROM customers c
JOIN subscriptions s ON s.environment_id = c.environment_id AND s.customer_id = c.id
WHERE c.environment_id = $1 AND c.end_user_id = $2 AND ($3::text IS NULL OR s.state = $3)
  AND ($4::uuid IS NULL OR (s.created_at, s.id) > (SELECT b.created_at, b.id FROM subscriptions b
                                                   WHERE b.environment_id = $1 AND b.id = $4))
ORDER BY s.created_at, s.id
LIMIT $5
