-- All subscriptions of customers, those that have ended too, in the order in which they were made.
SELECT s.environment_id, s.customer_id, s.id, s.rules, s.created_at, s.is_free, s.trial_plan_id, s.counted_from, s.set_aside,
       s.used_before, s.changes
FROM subscriptions s
JOIN unnest($1::uuid[], $2::uuid[]) AS asked (environment_id, customer_id) USING (environment_id, customer_id)
ORDER BY s.created_at, s.id
