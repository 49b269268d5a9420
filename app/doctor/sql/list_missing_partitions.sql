-- Months from now on ($1 of them) for whose usage events there is no partition.
SELECT to_char(begins_at AT TIME ZONE 'UTC', 'YYYY-MM') AS month
FROM generate_series(0, $1::integer - 1) AS ahead
CROSS JOIN LATERAL (SELECT date_trunc('month', now(), 'UTC') + ahead * interval '1 month') AS months (begins_at)
WHERE to_regclass('usage_events_' || to_char(begins_at AT TIME ZONE 'UTC', 'YYYYMM')) IS NULL
ORDER BY 1
