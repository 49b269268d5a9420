-- What a customer has of their own, by the keys of the features, after the key $3.
SELECT f.key, o.customer_id, o.feature_id, o.included, o.value, o.sets_limit, o.limit_units_micro, o.overage_policy,
       o.overage_limit_micro, o.expires_at, o.updated_at
FROM overrides o
JOIN features f ON f.environment_id = o.environment_id AND f.id = o.feature_id
WHERE o.environment_id = $1 AND o.customer_id = $2 AND ($3::text IS NULL OR f.key > $3)
ORDER BY f.key
LIMIT $4
