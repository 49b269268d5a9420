-- Queues that were taken and are not gone on with are due for anybody.
UPDATE webhook_queues q SET due_at = $5, claim = NULL
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[]) AS t (environment_id, endpoint_id, end_user_id, claim)
WHERE q.environment_id = t.environment_id AND q.endpoint_id = t.endpoint_id AND q.end_user_id = t.end_user_id
      AND q.claim = t.claim
