-- How units of accounts are counted from now on, and when those accounts next change by themselves.
UPDATE accounts a
SET calendar = changed.calendar, period_start_at = changed.period_start_at, period_end_at = changed.period_end_at,
    valid_until = changed.valid_until
FROM unnest($2::uuid[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[])
     AS changed (id, calendar, period_start_at, period_end_at, valid_until)
WHERE a.environment_id = $1 AND a.id = changed.id
