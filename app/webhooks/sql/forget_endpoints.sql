-- Endpoints that were deleted and are locked go once nothing speaks of them.
DELETE FROM webhook_endpoints e
WHERE e.environment_id = $1 AND e.id = ANY ($2::uuid[])
      AND NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.environment_id = $1 AND d.endpoint_id = e.id)
      AND NOT EXISTS (SELECT FROM webhook_queues q WHERE q.environment_id = $1 AND q.endpoint_id = e.id)
      AND NOT EXISTS (SELECT FROM webhook_replays r WHERE r.environment_id = $1 AND r.endpoint_id = e.id)
