-- How many endpoints an environment has.
SELECT count(*) FROM webhook_endpoints WHERE environment_id = $1 AND deleted_at IS NULL
