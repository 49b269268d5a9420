-- Every head that a checkpoint has of the accounts that read_all_accounts reads, in their order and by seq.
SELECT h.environment_id, h.account_id, h.seq, h.day, h.hash
FROM ledger_checkpoint_heads h
WHERE ($1::uuid[] IS NULL OR h.environment_id = ANY($1)) AND ($2::uuid[] IS NULL OR h.account_id = ANY($2))
ORDER BY h.environment_id, h.account_id, h.seq
