-- The free plan of an environment, at its present version.
SELECT v.id, v.plan_id, v.current_version_id
FROM environment_settings s
JOIN plan_variants v ON v.environment_id = s.environment_id AND v.id = s.free_variant_id
WHERE s.environment_id = $1
