-- When a key ends, and whether that is since it was revoked.
UPDATE api_keys SET expires_at = $3, revoked_at = $4, changed_at = $5 WHERE environment_id = $1 AND id = $2
