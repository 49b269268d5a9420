-- What took effect, the newest first. The ids bound it too: they are of the moments, and the order of the rows.
SELECT id, at, actor, request_id, route, status, subject_kind, subject_id, request, before, after, reason, idempotency_key
FROM audit_log
WHERE environment_id = $1 AND id >= $2 AND id < $3
  AND ($4::timestamptz IS NULL OR at >= $4) AND ($5::timestamptz IS NULL OR at < $5)
  AND ($6::text IS NULL OR actor = $6)
  AND ($7::text IS NULL OR subject_kind = $7) AND ($8::text IS NULL OR subject_id = $8)
ORDER BY id DESC LIMIT $9
