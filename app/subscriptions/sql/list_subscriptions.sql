-- Subscriptions in the order in which they were made, in one state or all, after the id $3. A page is read in the order of an
-- index, and the names of those on it are looked up one by one. CASE, since under row security no COALESCE reaches an index.
SELECT s.environment_id, s.customer_id, s.id, s.rules, s.created_at, s.is_free, s.trial_plan_id, s.counted_from, s.set_aside,
       s.used_before, s.changes,
       (SELECT c.end_user_id FROM customers c WHERE c.environment_id = s.environment_id AND c.id = s.customer_id) AS end_user_id
FROM subscriptions s
WHERE s.environment_id = $1 AND ($2::text IS NULL OR s.state = $2)
  AND (s.created_at, s.id) > (
      CASE WHEN $3::uuid IS NULL THEN '-infinity'
           ELSE (SELECT b.created_at FROM subscriptions b WHERE b.environment_id = $1 AND b.id = $3) END,
      CASE WHEN $3 IS NULL THEN '00000000-0000-0000-0000-000000000000' ELSE $3 END)
ORDER BY s.created_at, s.id
LIMIT $4
