-- The row of an environment that has none yet, with the defaults, so that there is something to lock.
INSERT INTO environment_settings (environment_id, free_variant_id, auto_enroll, thresholds, updated_at)
VALUES ($1, NULL, false, '[]', $2)
ON CONFLICT (environment_id) DO NOTHING
