-- The figures of the accounts that were posted to.
UPDATE accounts a
SET revision = changed.revision, seq = changed.seq, total_micro = changed.total_micro,
    debt_micro = changed.debt_micro, applied_micro = changed.applied_micro, valid_until = changed.valid_until,
    posted_at = changed.posted_at, head_hash = changed.head_hash, period_start_at = changed.period_start_at,
    period_end_at = changed.period_end_at
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
            $8::timestamptz[], $9::timestamptz[], $10::bytea[], $11::timestamptz[], $12::timestamptz[])
     AS changed (environment_id, id, revision, seq, total_micro, debt_micro, applied_micro, valid_until, posted_at,
                 head_hash, period_start_at, period_end_at)
WHERE a.environment_id = changed.environment_id AND a.id = changed.id
