-- The free plans of several environments, each at its present version; environments that have none are left out.
SELECT s.environment_id, v.id, v.plan_id, v.current_version_id
FROM environment_settings s
JOIN plan_variants v ON v.environment_id = s.environment_id AND v.id = s.free_variant_id
WHERE s.environment_id = ANY ($1::uuid[])
