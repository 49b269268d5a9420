-- Queues that are still whose they were, locked in one order until the transaction ends.
SELECT q.environment_id, q.endpoint_id, q.end_user_id, q.claim
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[]) AS t (environment_id, endpoint_id, end_user_id, claim)
JOIN webhook_queues q ON q.environment_id = t.environment_id AND q.endpoint_id = t.endpoint_id
     AND q.end_user_id = t.end_user_id AND q.claim = t.claim
ORDER BY q.environment_id, q.endpoint_id, q.end_user_id
FOR UPDATE OF q
