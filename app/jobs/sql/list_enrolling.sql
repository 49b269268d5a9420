-- Environments after $1 that enrol whom they see first: since when, in which free plan, and where their test clocks stand.
SELECT s.environment_id, s.free_variant_id, s.enrolling_since, t.frozen_at
FROM environment_settings s
LEFT JOIN test_clocks t ON t.environment_id = s.environment_id
WHERE s.auto_enroll AND s.environment_id > $1
ORDER BY s.environment_id
LIMIT $2
