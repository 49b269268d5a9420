-- One usage event. Its key says in which month it stands, so that the others are not opened.
WITH key AS MATERIALIZED (
    SELECT k.account_id, k.seq, k.accepted_at FROM usage_event_keys k WHERE k.environment_id = $1 AND k.id = $2
)
SELECT e.id, a.end_user_id, e.feature_key, e.units_micro, e.cost_micro, e.debt_micro, e.idempotency_key, e.properties,
       e.occurred_at, e.accepted_at, e.recorded_at, e.seq,
       (SELECT o.recorded_at FROM ledger_orders o
        WHERE o.environment_id = $1 AND o.target_id = e.id AND o.code IS NULL) AS voided_at
FROM usage_events e
JOIN accounts a ON a.environment_id = e.environment_id AND a.id = e.account_id
WHERE e.environment_id = $1 AND e.id = $2 AND e.account_id = (SELECT account_id FROM key)
  AND e.seq = (SELECT seq FROM key) AND e.accepted_at = (SELECT accepted_at FROM key)
