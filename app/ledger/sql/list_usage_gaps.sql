-- Hours of an account and feature that are not the sum of their events, without those that were voided.
SELECT environment_id, account_id, feature_key, hour_at, h.units_micro, h.cost_micro, h.events,
       e.units_micro AS summed_units_micro, e.cost_micro AS summed_cost_micro, e.events AS summed_events
FROM (SELECT * FROM usage_hours WHERE $1::uuid IS NULL OR environment_id = $1) AS h
FULL JOIN (
    SELECT environment_id, account_id, feature_key, date_trunc('hour', occurred_at, 'UTC') AS hour_at,
           sum(units_micro) AS units_micro, sum(cost_micro) AS cost_micro, count(*) AS events
    FROM usage_events u
    WHERE ($1::uuid IS NULL OR environment_id = $1)
      AND NOT EXISTS (SELECT FROM ledger_orders o
                      WHERE o.environment_id = u.environment_id AND o.target_id = u.id AND o.code IS NULL)
    GROUP BY 1, 2, 3, 4
) AS e USING (environment_id, account_id, feature_key, hour_at)
WHERE coalesce(h.units_micro, 0) <> coalesce(e.units_micro, 0) OR coalesce(h.cost_micro, 0) <> coalesce(e.cost_micro, 0)
   OR coalesce(h.events, 0) <> coalesce(e.events, 0)
LIMIT $2
