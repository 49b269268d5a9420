-- How it goes with endpoints; where there is a reason they are disabled.
UPDATE webhook_endpoints e
SET failing_since = t.failing_since, enabled = t.reason IS NULL, disabled_reason = t.reason,
    disabled_at = CASE WHEN t.reason IS NOT NULL THEN $5::timestamptz END
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[]) AS t (environment_id, id, failing_since, reason)
WHERE e.environment_id = t.environment_id AND e.id = t.id
