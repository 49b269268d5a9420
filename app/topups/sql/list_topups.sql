-- Top-ups, newest first, below the id $3; a customer of NULL does not narrow it.
SELECT t.id, a.end_user_id, p.key AS package_key, t.block_id, t.amount_micro, t.price_paid, t.currency,
       t.payment_reference, t.priority, t.expires_at, t.created_at
FROM topups t
JOIN accounts a ON a.environment_id = t.environment_id AND a.id = t.account_id
LEFT JOIN topup_packages p ON p.environment_id = t.environment_id AND p.id = t.package_id
WHERE t.environment_id = $1 AND ($2::uuid IS NULL OR t.account_id = $2) AND ($3::uuid IS NULL OR t.id < $3)
ORDER BY t.id DESC
LIMIT $4
