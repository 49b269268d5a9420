-- Usage events that are to be voided. Their keys say in which months they stand, so that the others are not opened.
SELECT e.environment_id, e.account_id, e.id, e.seq, e.feature_key, e.units_micro, e.cost_micro, e.debt_micro, e.draws,
       e.price_id, e.idempotency_key, e.properties, e.occurred_at, e.accepted_at, e.period_at
FROM unnest($1::uuid[], $2::uuid[]) AS asked (environment_id, id)
JOIN usage_event_keys k USING (environment_id, id)
JOIN usage_events e ON e.environment_id = k.environment_id AND e.account_id = k.account_id AND e.seq = k.seq
    AND e.id = k.id AND e.accepted_at = k.accepted_at
