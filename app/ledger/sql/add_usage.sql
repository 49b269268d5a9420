-- Usage of accounts by feature and hour, added to what is there, in the one order that every writer keeps.
INSERT INTO usage_hours AS h (environment_id, account_id, feature_key, hour_at, units_micro, cost_micro, events)
SELECT environment_id, account_id, feature_key, hour_at, sum(units_micro), sum(cost_micro), sum(events)
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::numeric[], $6::numeric[], $7::bigint[])
     AS added (environment_id, account_id, feature_key, hour_at, units_micro, cost_micro, events)
GROUP BY environment_id, account_id, feature_key, hour_at
ORDER BY environment_id, account_id, feature_key, hour_at
ON CONFLICT (environment_id, account_id, feature_key, hour_at) DO UPDATE
SET units_micro = h.units_micro + excluded.units_micro, cost_micro = h.cost_micro + excluded.cost_micro,
    events = h.events + excluded.events
