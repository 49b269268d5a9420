-- What is set for an environment.
SELECT free_variant_id, auto_enroll, thresholds FROM environment_settings WHERE environment_id = $1
