-- Deliveries, the newest first, below the id $6; a filter of NULL does not narrow it.
SELECT d.id, d.endpoint_id, d.event_id, o.type, o.end_user_id, o.sequence, d.state, d.attempts,
       CASE WHEN d.state = 'pending' AND d.attempts > d.attempts_before THEN q.due_at END AS next_attempt_at,
       d.created_at, d.finished_at
FROM webhook_deliveries d
JOIN webhook_endpoints e ON e.environment_id = d.environment_id AND e.id = d.endpoint_id AND e.deleted_at IS NULL
JOIN outbox o ON o.environment_id = d.environment_id AND o.id = d.event_id
LEFT JOIN webhook_queues q ON q.environment_id = d.environment_id AND q.endpoint_id = d.endpoint_id
     AND q.end_user_id = d.end_user_id
WHERE d.environment_id = $1 AND ($2::uuid IS NULL OR d.endpoint_id = $2) AND ($3::text IS NULL OR d.state = $3)
      AND ($4::uuid IS NULL OR d.event_id = $4) AND ($5::text IS NULL OR d.end_user_id = $5)
      AND ($6::uuid IS NULL OR d.id < $6)
ORDER BY d.id DESC LIMIT $7
