-- Nothing is replayed to an endpoint that was deleted.
DELETE FROM webhook_replays r USING webhook_endpoints e
WHERE r.environment_id = $1 AND e.environment_id = $1 AND e.id = r.endpoint_id AND e.deleted_at IS NOT NULL
