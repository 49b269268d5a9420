-- What became of an order, with the lines of its transaction.
SELECT o.digest, o.code, o.amount_micro, o.context, t.id AS transaction_id, t.kind, t.posted_at, t.total_before_micro,
       t.total_after_micro,
       ARRAY(SELECT l.account_name FROM ledger_lines l
             WHERE (l.environment_id, l.account_id, l.seq) = (o.environment_id, o.account_id, o.seq) ORDER BY l.line) AS names,
       ARRAY(SELECT l.amount_micro FROM ledger_lines l
             WHERE (l.environment_id, l.account_id, l.seq) = (o.environment_id, o.account_id, o.seq) ORDER BY l.line) AS amounts
FROM ledger_orders o
LEFT JOIN ledger_transactions t USING (environment_id, account_id, seq)
WHERE o.environment_id = $1 AND o.id = $2
