-- An endpoint, locked against other changes until the transaction ends.
SELECT id, url, description, event_types, enabled, disabled_reason, disabled_at, secret_version, rotated_until,
       failing_since, created_at, updated_at
FROM webhook_endpoints WHERE environment_id = $1 AND id = $2 AND deleted_at IS NULL
FOR NO KEY UPDATE
