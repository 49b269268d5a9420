-- The newest checkpoint of each environment, or of one ($1).
SELECT DISTINCT ON (c.environment_id) c.environment_id, c.day, c.taken_at, c.accounts, c.transactions, c.digest,
       c.previous_hash, c.hash
FROM ledger_checkpoints c
WHERE ($1::uuid IS NULL OR c.environment_id = $1)
ORDER BY c.environment_id, c.day DESC
