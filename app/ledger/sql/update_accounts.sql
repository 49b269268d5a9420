-- The figures of the accounts that were posted to, and what was composed for them.
UPDATE accounts a
SET revision = changed.revision, seq = changed.seq, total_micro = changed.total_micro,
    debt_micro = changed.debt_micro, applied_micro = changed.applied_micro, valid_until = changed.valid_until,
    posted_at = changed.posted_at, head_hash = changed.head_hash, reserved_micro = changed.reserved_micro,
    open_reservations = changed.open_reservations, calendar = changed.calendar, period_start_at = changed.period_start_at,
    period_end_at = changed.period_end_at, snapshot_id = changed.snapshot_id,
    subscription_status = changed.subscription_status, agenda_at = changed.agenda_at,
    composed_until = changed.composed_until
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
            $8::timestamptz[], $9::timestamptz[], $10::bytea[], $11::bigint[], $12::bigint[], $13::text[],
            $14::timestamptz[], $15::timestamptz[], $16::text[], $17::text[], $18::timestamptz[], $19::timestamptz[])
     AS changed (environment_id, id, revision, seq, total_micro, debt_micro, applied_micro, valid_until, posted_at,
                 head_hash, reserved_micro, open_reservations, calendar, period_start_at, period_end_at, snapshot_id,
                 subscription_status, agenda_at, composed_until)
WHERE a.environment_id = changed.environment_id AND a.id = changed.id
