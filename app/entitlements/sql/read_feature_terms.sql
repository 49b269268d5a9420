-- Every feature of the environment, as each of the plan versions and the defaults (version NULL) see it: of one that is not
-- metered the version's value before the feature's default.
SELECT f.key, f.kind, coalesce(included.value, f.default_value) AS value, versions.id AS variant_version_id,
       included.feature_id IS NOT NULL AS included,
       coalesce(included.overage_policy, versions.overage_policy) AS overage_policy
FROM features f
CROSS JOIN (
    SELECT v.id, v.overage_policy FROM plan_variant_versions v
    WHERE v.environment_id = $1 AND v.id = ANY($2::uuid[])
    UNION ALL SELECT NULL::uuid, NULL::text
) AS versions
LEFT JOIN plan_features included ON included.environment_id = f.environment_id
     AND included.variant_version_id = versions.id AND included.feature_id = f.id
WHERE f.environment_id = $1
