-- An endpoint as it is from now on.
INSERT INTO webhook_endpoints (environment_id, id, url, description, event_types, enabled, disabled_reason, disabled_at,
                               secret_version, rotated_until, failing_since, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (environment_id, id) DO UPDATE
SET url = excluded.url, description = excluded.description, event_types = excluded.event_types, enabled = excluded.enabled,
    disabled_reason = excluded.disabled_reason, disabled_at = excluded.disabled_at,
    secret_version = excluded.secret_version, rotated_until = excluded.rotated_until,
    failing_since = excluded.failing_since, updated_at = excluded.updated_at
