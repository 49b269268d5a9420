-- Usage by time, customer and feature, in [$4, $7); what is NULL does not narrow it. Goes on after ($9, $10, $11).
-- Whole hours, [$5, $6), were added up when they were posted; the parts of an hour at both ends are added up from events,
-- which are not opened where there are none. What was voided is not usage. One customer's events are found by their account:
-- by time alone, those of the whole environment would be gone through.
WITH asked AS MATERIALIZED (SELECT id FROM accounts WHERE environment_id = $1 AND end_user_id = $2)
SELECT * FROM (
    SELECT CASE $8::text WHEN 'total' THEN $4::timestamptz ELSE date_trunc($8, used.at, 'UTC') END AS start_at,
           a.end_user_id, used.feature_key, sum(used.units_micro) AS units_micro, sum(used.cost_micro) AS cost_micro,
           sum(used.events)::bigint AS events
    FROM (
        SELECT h.account_id, h.feature_key, h.hour_at AS at, h.units_micro, h.cost_micro, h.events
        FROM usage_hours h
        WHERE h.environment_id = $1 AND h.hour_at >= $5 AND h.hour_at < $6
          AND ($2::text IS NULL OR h.account_id = (SELECT id FROM asked))
        UNION ALL
        SELECT e.account_id, e.feature_key, e.occurred_at, e.units_micro, e.cost_micro, 1
        FROM usage_events e
        WHERE $4::timestamptz < $5 AND e.environment_id = $1 AND e.occurred_at >= $4 AND e.occurred_at < $5
          AND ($2::text IS NULL OR e.account_id = (SELECT id FROM asked))
          AND NOT EXISTS (SELECT FROM ledger_orders o
                          WHERE o.environment_id = $1 AND o.target_id = e.id AND o.code IS NULL)
        UNION ALL
        SELECT e.account_id, e.feature_key, e.occurred_at, e.units_micro, e.cost_micro, 1
        FROM usage_events e
        WHERE $6::timestamptz < $7 AND e.environment_id = $1 AND e.occurred_at >= $6 AND e.occurred_at < $7
          AND ($2::text IS NULL OR e.account_id = (SELECT id FROM asked))
          AND NOT EXISTS (SELECT FROM ledger_orders o
                          WHERE o.environment_id = $1 AND o.target_id = e.id AND o.code IS NULL)
    ) AS used
    JOIN accounts a ON a.environment_id = $1 AND a.id = used.account_id
    WHERE $3::text IS NULL OR used.feature_key = $3
    GROUP BY start_at, a.end_user_id, used.feature_key
    HAVING sum(used.events) > 0
) AS usage
WHERE $9::timestamptz IS NULL OR (start_at, end_user_id, feature_key) > ($9, $10::text, $11::text)
ORDER BY start_at, end_user_id, feature_key
LIMIT $12
