-- The keys of an environment that are valid at $2.
SELECT id, digest, display_prefix, name, scopes, created_at, created_by, expires_at, revoked_at, last_used_at
FROM api_keys
WHERE environment_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
