-- Heads of one checkpoint, in the order of its digest.
SELECT uuid_send(h.account_id), h.seq, h.hash
FROM ledger_checkpoint_heads h
WHERE h.environment_id = $1 AND h.day = $2
ORDER BY h.account_id
