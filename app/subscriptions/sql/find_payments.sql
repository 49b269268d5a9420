-- What these payment references have paid for, and whether the subscription has been on what was asked for since.
SELECT h.environment_id, h.payment_reference, h.subscription_id, h.action, h.variant_asked, EXISTS (
    SELECT FROM subscription_history later
    JOIN plan_variant_versions v ON v.environment_id = later.environment_id AND v.id = later.version_after
    WHERE later.environment_id = h.environment_id AND later.subscription_id = h.subscription_id
      AND later.number > h.number AND v.variant_id = h.variant_asked
) AS came
FROM subscription_history h
JOIN unnest($1::uuid[], $2::text[]) AS asked (environment_id, payment_reference) USING (environment_id, payment_reference)
