-- What is set for an environment, so that changes of it come one after the other.
SELECT free_variant_id, auto_enroll, thresholds FROM environment_settings WHERE environment_id = $1 FOR UPDATE
