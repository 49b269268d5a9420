-- What became of a subscription, the newest first, before the number $3.
SELECT h.environment_id, h.subscription_id, h.number, h.at, h.action, h.state_before, h.state_after, h.version_before,
       h.version_after, h.actor, h.reason, h.payment_reference, h.idempotency_key, h.variant_asked
FROM subscription_history h
WHERE h.environment_id = $1 AND h.subscription_id = $2 AND ($3::integer IS NULL OR h.number < $3)
ORDER BY h.number DESC
LIMIT $4
