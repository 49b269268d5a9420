-- One key of an environment.
SELECT id, digest, display_prefix, name, scopes, created_at, created_by, expires_at, revoked_at, last_used_at
FROM api_keys
WHERE environment_id = $1 AND id = $2
