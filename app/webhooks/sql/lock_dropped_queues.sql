-- Some queues of endpoints that were deleted, or disabled before $2; nobody takes them until the transaction ends.
SELECT q.environment_id, q.endpoint_id, q.end_user_id FROM webhook_queues q
JOIN webhook_endpoints e ON e.environment_id = q.environment_id AND e.id = q.endpoint_id
WHERE q.environment_id = $1 AND (e.deleted_at IS NOT NULL OR (NOT e.enabled AND e.disabled_at < $2))
ORDER BY q.endpoint_id, q.end_user_id LIMIT $3
FOR UPDATE OF q SKIP LOCKED
