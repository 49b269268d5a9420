-- Usage events that are to be voided.
SELECT e.environment_id, e.account_id, e.id, e.seq, e.feature_key, e.units_micro, e.cost_micro, e.debt_micro, e.draws,
       e.price_id, e.idempotency_key, e.properties, e.occurred_at, e.accepted_at
FROM usage_events e
JOIN unnest($1::uuid[], $2::uuid[]) AS asked (environment_id, id) USING (environment_id, id)
