-- What was rejected, the latest first, below ($3, $4); what is NULL does not narrow it.
SELECT r.id, r.end_user_id, r.stream_id, r.code, r.detail, r.entry, r.recorded_at, r.retried_at, k.id IS NOT NULL AS is_posted
FROM rejected_events r
LEFT JOIN usage_event_keys k ON k.environment_id = r.environment_id AND k.id = r.id
WHERE r.environment_id = $1 AND ($2::text IS NULL OR r.end_user_id = $2)
  AND ($3::timestamptz IS NULL OR (r.recorded_at, r.id) < ($3, $4::uuid))
ORDER BY r.recorded_at DESC, r.id DESC
LIMIT $5
