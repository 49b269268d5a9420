-- Deliveries had one more attempt, and some are over by it.
UPDATE webhook_deliveries d
SET attempts = d.attempts + 1, state = t.state, finished_at = CASE WHEN t.state = 'pending' THEN NULL ELSE $4::timestamptz END
FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS t (environment_id, id, state)
WHERE d.environment_id = t.environment_id AND d.id = t.id
