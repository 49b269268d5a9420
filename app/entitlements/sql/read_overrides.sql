-- What these accounts' customers have of features of their own, as far as it has not expired at the account's moment.
SELECT o.customer_id, f.key, o.included, o.value, o.sets_limit, o.limit_units_micro, o.overage_policy, o.overage_limit_micro,
       o.expires_at
FROM unnest($2::uuid[], $3::timestamptz[]) AS asked (customer_id, at)
JOIN overrides o USING (customer_id)
JOIN features f ON f.environment_id = o.environment_id AND f.id = o.feature_id
WHERE o.environment_id = $1 AND (o.expires_at IS NULL OR o.expires_at > asked.at)
ORDER BY o.customer_id, f.key
