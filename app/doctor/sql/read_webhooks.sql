-- Queues that have been due since $1 or longer, endpoints that take nothing, and deliveries that were parked since $2.
SELECT count(*) FILTER (WHERE q.due_at <= $1 AND e.enabled) AS overdue, min(q.due_at) FILTER (WHERE e.enabled) AS since,
       coalesce(sum(q.waiting), 0) AS waiting,
       (SELECT count(*) FROM webhook_endpoints f
        WHERE f.deleted_at IS NULL AND (f.failing_since <= $1 OR f.disabled_reason IN ('gone', 'failing'))) AS failing,
       (SELECT count(*) FROM webhook_deliveries d WHERE d.state = 'parked' AND d.finished_at >= $2) AS parked
FROM webhook_queues q
JOIN webhook_endpoints e ON e.environment_id = q.environment_id AND e.id = q.endpoint_id
