-- Endpoints in the order in which they were made, behind the id $2.
SELECT id, url, description, event_types, enabled, disabled_reason, disabled_at, secret_version, rotated_until,
       failing_since, created_at, updated_at
FROM webhook_endpoints
WHERE environment_id = $1 AND deleted_at IS NULL AND ($2::uuid IS NULL OR id > $2)
ORDER BY id LIMIT $3
