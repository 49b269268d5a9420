-- The keys of an environment in the order in which they were made, after the id $2; those that ended are among them.
SELECT id, digest, display_prefix, name, scopes, created_at, created_by, expires_at, revoked_at, last_used_at
FROM api_keys
WHERE environment_id = $1 AND ($2::uuid IS NULL OR id > $2)
ORDER BY id
LIMIT $3
