-- Every feature of the environment, as each of the plan versions and the defaults (version NULL) see it: the price of
-- the version before the feature's default, the newest that is in force; so with limits. A feature with an overage policy of
-- its own has its own limit of overage, or none.
SELECT f.key, versions.id AS variant_version_id, included.feature_id IS NOT NULL AS included,
       coalesce(included.overage_policy, versions.overage_policy) AS overage_policy,
       coalesce(included.limit_units_micro, f.limit_units_micro) AS limit_units_micro,
       CASE WHEN included.overage_policy IS NULL THEN coalesce(included.overage_limit_micro, versions.overage_limit_micro)
            ELSE included.overage_limit_micro END AS overage_limit_micro,
       price.id AS price_id, price.price
FROM features f
CROSS JOIN (
    SELECT v.id, v.overage_policy, v.overage_limit_micro FROM plan_variant_versions v
    WHERE v.environment_id = $1 AND v.id = ANY($2::uuid[])
    UNION ALL SELECT NULL::uuid, NULL::text, NULL::bigint
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
