-- Deliveries that wait for endpoints that are enabled, and since when the first of them is due.
SELECT coalesce(sum(q.waiting), 0)::bigint AS waiting, min(q.due_at) AS since
FROM webhook_queues q
JOIN webhook_endpoints e ON e.environment_id = q.environment_id AND e.id = q.endpoint_id
WHERE e.enabled AND e.deleted_at IS NULL
