-- Every feature of the environment, as each of the plan versions and the defaults (version NULL) see it: the limit, or the
-- value, of the version before the feature's default. A feature with an overage policy of its own has its own limit of
-- overage, or none.
SELECT f.key, f.kind, coalesce(included.value, f.default_value) AS value, versions.id AS variant_version_id,
       included.feature_id IS NOT NULL AS included,
       coalesce(included.overage_policy, versions.overage_policy) AS overage_policy,
       coalesce(included.limit_units_micro, f.limit_units_micro) AS limit_units_micro,
       CASE WHEN included.overage_policy IS NULL THEN coalesce(included.overage_limit_micro, versions.overage_limit_micro)
            ELSE included.overage_limit_micro END AS overage_limit_micro
FROM features f
CROSS JOIN (
    SELECT v.id, v.overage_policy, v.overage_limit_micro FROM plan_variant_versions v
    WHERE v.environment_id = $1 AND v.id = ANY($2::uuid[])
    UNION ALL SELECT NULL::uuid, NULL::text, NULL::bigint
) AS versions
LEFT JOIN plan_features included ON included.environment_id = f.environment_id
     AND included.variant_version_id = versions.id AND included.feature_id = f.id
WHERE f.environment_id = $1
