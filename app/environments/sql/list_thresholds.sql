-- The thresholds of several environments; those that have none are left out.
SELECT environment_id, thresholds FROM environment_settings
WHERE environment_id = ANY ($1::uuid[]) AND thresholds <> '[]'
