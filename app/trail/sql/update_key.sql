-- Puts the answer beside a key.
UPDATE idempotency_keys SET status = $4, body = $5, touched_ledger = $6
WHERE environment_id = $1 AND route = $2 AND key = $3
