-- Queues that were taken and are not gone on with are due for anybody. They are locked in one order.
UPDATE webhook_queues q SET due_at = $5, claim = NULL
FROM (
    SELECT w.environment_id, w.endpoint_id, w.end_user_id
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[]) AS t (environment_id, endpoint_id, end_user_id, claim)
    JOIN webhook_queues w ON w.environment_id = t.environment_id AND w.endpoint_id = t.endpoint_id
         AND w.end_user_id = t.end_user_id AND w.claim = t.claim
    ORDER BY w.environment_id, w.endpoint_id, w.end_user_id
    FOR UPDATE OF w
) AS held
WHERE q.environment_id = held.environment_id AND q.endpoint_id = held.endpoint_id AND q.end_user_id = held.end_user_id
