-- Every checkpoint of some environments ($1), NULL = of all, in the order of its chain.
SELECT c.environment_id, c.day, c.taken_at, c.accounts, c.transactions, c.digest, c.previous_hash, c.hash
FROM ledger_checkpoints c
WHERE ($1::uuid[] IS NULL OR c.environment_id = ANY($1))
ORDER BY c.environment_id, c.day
