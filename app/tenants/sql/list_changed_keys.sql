-- Keys that were revoked or given another end, by when that was and by id, after the moment $1 and the id $2.
SELECT k.changed_at, k.id, k.digest, k.environment_id, e.kind, k.scopes, k.expires_at, k.revoked_at IS NOT NULL
FROM api_keys k JOIN environments e ON e.id = k.environment_id
WHERE k.changed_at IS NOT NULL AND (k.changed_at, k.id) > ($1, $2)
ORDER BY k.changed_at, k.id
LIMIT $3
