-- Orders that were carried out and have no such transaction; voids and billings that nobody ordered. What is done with a
-- subscription has no transaction of its own, and a base subscription bills the periods that it closes without an order.
SELECT o.environment_id, 'ledger_orders ' || o.id AS name, 'was carried out by no transaction of its account' AS message
FROM ledger_orders o
LEFT JOIN ledger_transactions t USING (environment_id, account_id, seq)
WHERE o.code IS NULL AND o.kind NOT IN ('subscribe', 'act') AND t.seq IS NULL
  AND ($1::uuid IS NULL OR o.environment_id = $1)
UNION ALL
SELECT t.environment_id, 'ledger_transactions ' || t.account_id || ' seq ' || t.seq, 'was ordered by nobody'
FROM ledger_transactions t
WHERE t.kind IN ('void', 'overage_billed') AND ($1::uuid IS NULL OR t.environment_id = $1)
  AND NOT EXISTS (SELECT FROM ledger_orders o
                  WHERE (o.environment_id, o.account_id, o.seq) = (t.environment_id, t.account_id, t.seq))
  AND NOT (t.kind = 'overage_billed' AND EXISTS (
      SELECT FROM subscriptions s
      JOIN subscription_history h ON h.environment_id = s.environment_id AND h.subscription_id = s.id
      WHERE s.environment_id = t.environment_id AND s.customer_id = t.account_id AND s.plan_kind = 'base'
        AND h.at <= t.posted_at AND h.state_before IS NOT NULL))
LIMIT $2
