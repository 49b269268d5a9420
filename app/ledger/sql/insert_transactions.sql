-- Numbered and chained transactions.
INSERT INTO ledger_transactions (environment_id, account_id, seq, id, kind, actor, reason, idempotency_key,
                                 total_before_micro, total_after_micro, events_digest, posted_at, previous_hash, hash,
                                 recorded_at)
SELECT transaction.*, $15::timestamptz
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::bigint[], $10::bigint[], $11::bytea[], $12::timestamptz[], $13::bytea[], $14::bytea[]) AS transaction
