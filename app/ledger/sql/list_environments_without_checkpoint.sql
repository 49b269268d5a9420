-- Environments that have none of this day yet.
SELECT e.id
FROM environments e
WHERE NOT EXISTS (SELECT FROM ledger_checkpoints c WHERE c.environment_id = e.id AND c.day = $1)
ORDER BY e.id
LIMIT $2
