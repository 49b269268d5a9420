-- What these payment references have paid for.
SELECT h.environment_id, h.payment_reference, h.subscription_id, h.action, h.variant_asked
FROM subscription_history h
JOIN unnest($1::uuid[], $2::text[]) AS asked (environment_id, payment_reference) USING (environment_id, payment_reference)
