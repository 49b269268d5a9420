-- A key was used at $3; written unless a use after $4 is known. Nobody who changes the key is waited for.
UPDATE api_keys SET last_used_at = $3
WHERE environment_id = $1 AND id = (
    SELECT id FROM api_keys
    WHERE environment_id = $1 AND id = $2 AND (last_used_at IS NULL OR last_used_at <= $4)
    FOR UPDATE SKIP LOCKED
)
