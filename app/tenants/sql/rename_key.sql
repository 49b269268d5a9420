-- Another name for a key.
UPDATE api_keys SET name = $3 WHERE environment_id = $1 AND id = $2
