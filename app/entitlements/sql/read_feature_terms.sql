-- Every feature of the environment, as each of the plan versions and the defaults (version NULL) see it: the price of
-- the version before the feature's default, the newest that is in force; so with the value of one that is not metered.
SELECT f.key, f.kind, coalesce(included.value, f.default_value) AS value, versions.id AS variant_version_id, included.feature_id IS NOT NULL AS included,
       coalesce(included.overage_policy, versions.overage_policy) AS overage_policy, price.id AS price_id, price.price
FROM features f
CROSS JOIN (
    SELECT v.id, v.overage_policy FROM plan_variant_versions v
    WHERE v.environment_id = $1 AND v.id = ANY($2::uuid[])
    UNION ALL SELECT NULL::uuid, NULL::text
) AS versions
LEFT JOIN plan_features included ON included.environment_id = f.environment_id
     AND included.variant_version_id = versions.id AND included.feature_id = f.id
LEFT JOIN LATERAL (
    SELECT p.id, p.price FROM prices p
    WHERE p.environment_id = f.environment_id AND p.feature_id = f.id AND p.effective_at <= $3
      AND (p.variant_version_id IS NULL OR p.variant_version_id = versions.id)
    ORDER BY p.variant_version_id IS NULL, p.effective_at DESC, p.version DESC
    LIMIT 1
) AS price ON true
WHERE f.environment_id = $1
