-- How units of accounts are counted from now on, until when their snapshots hold, and when the accounts next change by
-- themselves.
UPDATE accounts a
SET calendar = moved.calendar, period_start_at = moved.period_start_at, period_end_at = moved.period_end_at,
    composed_until = moved.composed_until, valid_until = moved.valid_until
FROM unnest($2::uuid[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[])
     AS moved (id, calendar, period_start_at, period_end_at, composed_until, valid_until)
WHERE a.environment_id = $1 AND a.id = moved.id
