-- The replay that was asked for first in the environment that comes behind $1, or in the first of all where none does; of an
-- endpoint that is still there.
SELECT r.environment_id, r.id, r.endpoint_id, r.event_types, r.next_position, r.last_position
FROM webhook_replays r
JOIN webhook_endpoints e ON e.environment_id = r.environment_id AND e.id = r.endpoint_id AND e.deleted_at IS NULL
ORDER BY r.environment_id <= $1, r.environment_id, r.created_at LIMIT 1
FOR UPDATE OF r SKIP LOCKED
