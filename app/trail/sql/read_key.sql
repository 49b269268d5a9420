-- What was asked and answered under an idempotency key.
SELECT request, status, body FROM idempotency_keys WHERE environment_id = $1 AND route = $2 AND key = $3
