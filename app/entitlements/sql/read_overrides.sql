-- What these accounts' customers have of features of their own, as far as it has not expired.
SELECT o.customer_id, f.key, o.included, o.value, o.sets_limit, o.limit_units_micro, o.overage_policy, o.overage_limit_micro
FROM overrides o
JOIN features f ON f.environment_id = o.environment_id AND f.id = o.feature_id
WHERE o.environment_id = $1 AND o.customer_id = ANY($2::uuid[]) AND (o.expires_at IS NULL OR o.expires_at > $3)
ORDER BY o.customer_id, f.key
