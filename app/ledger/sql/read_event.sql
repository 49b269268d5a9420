-- One usage event.
SELECT e.id, a.end_user_id, e.feature_key, e.units_micro, e.cost_micro, e.debt_micro, e.idempotency_key, e.properties,
       e.occurred_at, e.accepted_at, e.recorded_at, e.seq
FROM usage_events e
JOIN accounts a ON a.environment_id = e.environment_id AND a.id = e.account_id
WHERE e.environment_id = $1 AND e.id = $2
