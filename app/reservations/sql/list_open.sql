-- The open reservations of an account, as Redis is to hold them.
SELECT r.id, r.feature_key, r.in_credits, r.units_micro, r.price_id, p.price, r.reserved_micro, r.expires_at, r.period_at
FROM reservations r
JOIN prices p ON p.environment_id = r.environment_id AND p.id = r.price_id
WHERE r.environment_id = $1 AND r.account_id = $2 AND r.state = 'open'
ORDER BY r.id
