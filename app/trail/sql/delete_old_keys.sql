-- Some of the idempotency keys that were used long ago. Those that touched the ledger stay as long as it.
DELETE FROM idempotency_keys
WHERE (environment_id, route, key) IN (
    SELECT environment_id, route, key FROM idempotency_keys
    WHERE NOT touched_ledger AND created_at < $1 ORDER BY created_at LIMIT $2
)
