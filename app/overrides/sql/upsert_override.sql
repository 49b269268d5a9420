-- What a customer has of a feature, in place of what they had of their own.
INSERT INTO overrides (environment_id, customer_id, feature_id, included, value, sets_limit, limit_units_micro, overage_policy,
                       overage_limit_micro, expires_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (environment_id, customer_id, feature_id) DO UPDATE
SET included = excluded.included, value = excluded.value, sets_limit = excluded.sets_limit,
    limit_units_micro = excluded.limit_units_micro, overage_policy = excluded.overage_policy,
    overage_limit_micro = excluded.overage_limit_micro, expires_at = excluded.expires_at, updated_at = excluded.updated_at
