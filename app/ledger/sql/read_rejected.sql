-- Why an event could not be posted.
SELECT r.code, r.detail FROM rejected_events r WHERE r.environment_id = $1 AND r.id = $2
