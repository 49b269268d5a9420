-- Usage events of an account, newest first, below ($4, $5); what is NULL does not narrow it.
SELECT e.id, $6::text AS end_user_id, e.feature_key, e.units_micro, e.cost_micro, e.debt_micro, e.idempotency_key,
       e.properties, e.occurred_at, e.accepted_at, e.recorded_at, e.seq,
       (SELECT o.recorded_at FROM ledger_orders o
        WHERE o.environment_id = $1 AND o.target_id = e.id AND o.code IS NULL) AS voided_at
FROM usage_events e
WHERE e.environment_id = $1 AND e.account_id = $2 AND ($3::text IS NULL OR e.feature_key = $3)
  AND ($4::bigint IS NULL OR (e.seq, e.id) < ($4, $5::uuid))
ORDER BY e.seq DESC, e.id DESC
LIMIT $7
