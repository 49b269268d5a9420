-- Environments made before $1 that have no checkpoint of $2 or later.
SELECT count(*) AS environments
FROM environments e
WHERE e.created_at < $1
  AND NOT EXISTS (SELECT FROM ledger_checkpoints c WHERE c.environment_id = e.id AND c.day >= $2)
