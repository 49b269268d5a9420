-- Counters that are not the sum of what counts in their period: events without those that were voided, and openings of
-- reservations that are open still.
SELECT environment_id, account_id, feature_key, period_at, c.units_micro, s.units_micro AS summed_units_micro
FROM (SELECT * FROM usage_counters WHERE $1::uuid IS NULL OR environment_id = $1) AS c
FULL JOIN (
    SELECT environment_id, account_id, feature_key, period_at, sum(units_micro) AS units_micro
    FROM (
        SELECT environment_id, account_id, feature_key, period_at, units_micro
        FROM usage_events u
        WHERE period_at IS NOT NULL AND ($1::uuid IS NULL OR environment_id = $1)
          AND NOT EXISTS (SELECT FROM ledger_orders o
                          WHERE o.environment_id = u.environment_id AND o.target_id = u.id AND o.code IS NULL)
        UNION ALL
        SELECT environment_id, account_id, feature_key, period_at, units_micro
        FROM reservations
        WHERE state = 'open' AND period_at IS NOT NULL AND ($1::uuid IS NULL OR environment_id = $1)
    ) AS counted
    GROUP BY 1, 2, 3, 4
) AS s USING (environment_id, account_id, feature_key, period_at)
WHERE coalesce(c.units_micro, 0) <> coalesce(s.units_micro, 0)
LIMIT $2
