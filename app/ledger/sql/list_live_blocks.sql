-- Blocks with credit left, in the order in which they are spent (see app/rules/burndown.py).
SELECT b.id, b.source, b.granted_micro, b.remaining_micro, b.priority, b.paid, b.effective_at, b.expires_at,
       b.granted_at, b.metadata, b.price_paid, b.currency, b.external_reference, b.is_scheduled
FROM credit_blocks b
WHERE b.environment_id = $1 AND b.account_id = $2 AND b.live
ORDER BY b.priority, b.expires_at NULLS LAST, b.paid, b.granted_at, b.id
LIMIT $3
