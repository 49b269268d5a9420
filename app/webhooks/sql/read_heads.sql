-- What is first in queues that were taken. In a statement of its own: it sees what was delivered just before they were.
SELECT t.environment_id, t.endpoint_id, t.end_user_id, t.claim, head.id, head.attempts, head.attempts_before,
       o.id AS event_id, o.type, o.created_at, o.sequence, o.end_user_id AS whose, o.data::text AS data, o.traceparent,
       e.url, e.secret_version, e.rotated_until, e.failing_since IS NOT NULL AS is_failing
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[]) AS t (environment_id, endpoint_id, end_user_id, claim)
CROSS JOIN LATERAL (
    SELECT d.* FROM webhook_deliveries d
    WHERE d.environment_id = t.environment_id AND d.endpoint_id = t.endpoint_id AND d.end_user_id = t.end_user_id
          AND d.state = 'pending'
    ORDER BY d.place LIMIT 1
) AS head
JOIN outbox o ON o.environment_id = t.environment_id AND o.id = head.event_id
JOIN webhook_endpoints e ON e.environment_id = t.environment_id AND e.id = t.endpoint_id
WHERE e.enabled AND e.deleted_at IS NULL
