-- Why an event could not be posted, and whether it is under way again.
SELECT r.code, r.detail, r.retried_at IS NOT NULL FROM rejected_events r WHERE r.environment_id = $1 AND r.id = $2
