-- Nothing is replayed to an endpoint that was deleted. A replay that somebody is at is left for the next time.
DELETE FROM webhook_replays r USING (
    SELECT w.id FROM webhook_replays w
    JOIN webhook_endpoints e ON e.environment_id = w.environment_id AND e.id = w.endpoint_id
    WHERE w.environment_id = $1 AND e.deleted_at IS NOT NULL
    FOR UPDATE OF w SKIP LOCKED
) AS void
WHERE r.environment_id = $1 AND r.id = void.id
