-- Subscriptions in the order in which they were made, of one customer or all, in one state or all, after the id $4.
SELECT s.environment_id, s.customer_id, s.id, s.rules, s.created_at, s.is_free, s.trial_plan_id, s.counted_from, s.set_aside,
       s.used_before, s.changes, c.end_user_id
FROM subscriptions s
JOIN customers c ON c.environment_id = s.environment_id AND c.id = s.customer_id
WHERE s.environment_id = $1 AND ($2::text IS NULL OR c.end_user_id = $2) AND ($3::text IS NULL OR s.state = $3)
  AND ($4::uuid IS NULL OR (s.created_at, s.id) > (SELECT b.created_at, b.id FROM subscriptions b
                                                   WHERE b.environment_id = $1 AND b.id = $4))
ORDER BY s.created_at, s.id
LIMIT $5
