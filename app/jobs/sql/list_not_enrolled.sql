-- Customers without any subscription whose ids are from $2 on and before $3 in their environment ($1), in that order.
SELECT w.environment_id, c.id, c.end_user_id
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (environment_id, first_id, end_id)
CROSS JOIN LATERAL (
    SELECT c.id, c.end_user_id
    FROM customers c
    WHERE c.environment_id = w.environment_id AND c.id >= w.first_id AND c.id < w.end_id
      AND NOT EXISTS (SELECT FROM subscriptions s WHERE s.environment_id = c.environment_id AND s.customer_id = c.id)
    ORDER BY c.id
    LIMIT $4
) AS c
ORDER BY w.environment_id, c.id
LIMIT $4
