-- Queues in which nothing waits. Who adds to one at this moment waits for its row, and makes it anew.
DELETE FROM webhook_queues q
USING unnest($1::uuid[], $2::uuid[], $3::text[]) AS t (environment_id, endpoint_id, end_user_id)
WHERE q.environment_id = t.environment_id AND q.endpoint_id = t.endpoint_id AND q.end_user_id = t.end_user_id
      AND q.waiting = 0
