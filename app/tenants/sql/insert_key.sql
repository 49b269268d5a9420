-- A new key; nobody has used it yet.
INSERT INTO api_keys (environment_id, id, digest, display_prefix, name, scopes, created_at, created_by, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
