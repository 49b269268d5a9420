-- Every line of the transactions that read_all_transactions reads, in their order.
SELECT l.environment_id, l.account_id, l.seq, l.line, l.account_name, l.amount_micro
FROM ledger_lines l
WHERE ($1::uuid[] IS NULL OR l.environment_id = ANY($1)) AND ($2::uuid[] IS NULL OR l.account_id = ANY($2))
ORDER BY l.environment_id, l.account_id, l.seq, l.line
