-- A customer's open reservations, those that fall due first before the others, after ($3, $4).
SELECT r.id, r.feature_key, r.in_credits, r.units_micro, r.reserved_micro, r.idempotency_key, r.properties, r.opened_at,
       r.expires_at
FROM reservations r
WHERE r.environment_id = $1 AND r.account_id = $2 AND r.state = 'open' AND (r.expires_at, r.id) > ($3, $4)
ORDER BY r.expires_at, r.id
LIMIT $5
