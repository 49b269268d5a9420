-- How many replays of an environment are under way; those to endpoints that were deleted come to nothing.
SELECT count(*) FROM webhook_replays r
JOIN webhook_endpoints e ON e.environment_id = r.environment_id AND e.id = r.endpoint_id AND e.deleted_at IS NULL
WHERE r.environment_id = $1
