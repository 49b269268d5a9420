-- Lines of an account's transactions with these numbers.
SELECT l.seq, l.account_name, l.amount_micro
FROM ledger_lines l
WHERE l.environment_id = $1 AND l.account_id = $2 AND l.seq = ANY($3::bigint[])
ORDER BY l.seq, l.line
