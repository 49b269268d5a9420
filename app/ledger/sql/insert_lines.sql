-- Lines of transactions: those of one transaction sum to zero.
INSERT INTO ledger_lines (environment_id, account_id, seq, line, account_name, amount_micro)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::integer[], $5::text[], $6::bigint[])
