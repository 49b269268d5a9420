-- Every head of the checkpoints that read_all_checkpoints reads, in their order and by account, and the seq before it.
SELECT h.environment_id, h.day, h.account_id, h.seq, h.hash,
       lag(h.seq) OVER (PARTITION BY h.environment_id, h.account_id ORDER BY h.seq) AS seq_before
FROM ledger_checkpoint_heads h
WHERE ($1::uuid[] IS NULL OR h.environment_id = ANY($1))
ORDER BY h.environment_id, h.day, h.account_id
