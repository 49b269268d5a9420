-- Lines and usage events of transactions that do not exist: nothing else would look at them.
SELECT 'ledger_lines' AS name, l.environment_id, l.account_id, l.seq
FROM ledger_lines l
LEFT JOIN ledger_transactions t USING (environment_id, account_id, seq)
WHERE t.seq IS NULL AND ($1::uuid IS NULL OR l.environment_id = $1)
UNION ALL
SELECT 'usage_events', e.environment_id, e.account_id, e.seq
FROM usage_events e
LEFT JOIN ledger_transactions t USING (environment_id, account_id, seq)
WHERE t.seq IS NULL AND ($1::uuid IS NULL OR e.environment_id = $1)
LIMIT $2
