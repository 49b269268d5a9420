-- The top-up that a payment became.
SELECT t.id, a.end_user_id, p.key AS package_key, t.block_id, t.amount_micro, t.price_paid, t.currency,
       t.payment_reference, t.priority, t.expires_at, t.created_at
FROM topups t
JOIN accounts a ON a.environment_id = t.environment_id AND a.id = t.account_id
LEFT JOIN topup_packages p ON p.environment_id = t.environment_id AND p.id = t.package_id
WHERE t.environment_id = $1 AND t.payment_reference = $2
