-- One event that was rejected.
SELECT r.id, r.end_user_id, r.stream_id, r.code, r.detail, r.entry, r.recorded_at, r.retried_at, k.id IS NOT NULL AS is_posted
FROM rejected_events r
LEFT JOIN usage_event_keys k ON k.environment_id = r.environment_id AND k.id = r.id
WHERE r.environment_id = $1 AND r.id = $2
