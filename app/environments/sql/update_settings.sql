-- What is set from now on.
UPDATE environment_settings
SET free_variant_id = $2, auto_enroll = $3, enrolling_since = CASE WHEN $3 THEN coalesce(enrolling_since, $5) END,
    thresholds = $4, updated_at = $5
WHERE environment_id = $1
