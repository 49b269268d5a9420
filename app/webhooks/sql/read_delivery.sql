-- One delivery.
SELECT d.id, d.endpoint_id, d.event_id, o.type, o.end_user_id, o.sequence, d.state, d.attempts,
       CASE WHEN d.state = 'pending' AND d.attempts > d.attempts_before THEN q.due_at END AS next_attempt_at,
       d.created_at, d.finished_at
FROM webhook_deliveries d
JOIN webhook_endpoints e ON e.environment_id = d.environment_id AND e.id = d.endpoint_id AND e.deleted_at IS NULL
JOIN outbox o ON o.environment_id = d.environment_id AND o.id = d.event_id
LEFT JOIN webhook_queues q ON q.environment_id = d.environment_id AND q.endpoint_id = d.endpoint_id
     AND q.end_user_id = d.end_user_id
WHERE d.environment_id = $1 AND d.id = $2
