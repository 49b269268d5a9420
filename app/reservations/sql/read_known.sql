-- A reservation, as it was opened last, with its customer, its price, and what its commit used, in time or late.
SELECT r.id, r.feature_key, r.in_credits, r.units_micro, r.price_id, p.price, r.reserved_micro, r.expires_at, r.period_at, r.state,
       a.end_user_id, a.total_micro, e.units_micro AS committed_units_micro, e.cost_micro AS committed_micro
FROM reservations r
JOIN accounts a ON a.environment_id = r.environment_id AND a.id = r.account_id
JOIN prices p ON p.environment_id = r.environment_id AND p.id = r.price_id
LEFT JOIN usage_event_keys k ON k.environment_id = r.environment_id AND k.id = r.id
LEFT JOIN usage_events e ON e.environment_id = k.environment_id AND e.account_id = k.account_id AND e.seq = k.seq
     AND e.id = k.id AND e.accepted_at = k.accepted_at
WHERE r.environment_id = $1 AND r.id = $2
ORDER BY r.opened_seq DESC
LIMIT 1
