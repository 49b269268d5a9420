-- What accounts have used from an hour on, by feature.
SELECT asked.number, h.feature_key, sum(h.units_micro) AS units_micro, sum(h.cost_micro) AS cost_micro,
       sum(h.events)::bigint AS events
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) WITH ORDINALITY AS asked (environment_id, account_id, since_at, number)
JOIN usage_hours h ON h.environment_id = asked.environment_id AND h.account_id = asked.account_id AND h.hour_at >= asked.since_at
GROUP BY asked.number, h.feature_key
