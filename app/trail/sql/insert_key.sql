-- Takes an idempotency key, unless it is taken. A twin that has it, and has not committed, is waited for.
INSERT INTO idempotency_keys (environment_id, route, key, request, created_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING RETURNING true
