-- Orders that were carried out and have no such transaction; voids and billings that nobody ordered.
SELECT o.environment_id, 'ledger_orders ' || o.id AS name, 'was carried out by no transaction of its account' AS message
FROM ledger_orders o
LEFT JOIN ledger_transactions t USING (environment_id, account_id, seq)
WHERE o.code IS NULL AND t.seq IS NULL AND ($1::uuid IS NULL OR o.environment_id = $1)
UNION ALL
SELECT t.environment_id, 'ledger_transactions ' || t.account_id || ' seq ' || t.seq, 'was ordered by nobody'
FROM ledger_transactions t
WHERE t.kind IN ('void', 'overage_billed') AND ($1::uuid IS NULL OR t.environment_id = $1)
  AND NOT EXISTS (SELECT FROM ledger_orders o
                  WHERE (o.environment_id, o.account_id, o.seq) = (t.environment_id, t.account_id, t.seq))
LIMIT $2
