-- One override, kept as it is until the transaction ends.
SELECT customer_id, feature_id, included, value, sets_limit, limit_units_micro, overage_policy, overage_limit_micro,
       expires_at, updated_at
FROM overrides WHERE environment_id = $1 AND customer_id = $2 AND feature_id = $3
FOR UPDATE
