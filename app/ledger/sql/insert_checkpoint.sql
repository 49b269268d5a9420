-- A checkpoint, after its heads.
INSERT INTO ledger_checkpoints (environment_id, day, taken_at, accounts, transactions, digest, previous_hash, hash)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
