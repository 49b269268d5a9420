-- Entries that cannot be posted. Reading a stream again finds them here already.
INSERT INTO rejected_events (environment_id, id, end_user_id, stream_id, code, detail, entry, recorded_at)
SELECT rejected.*, $8::timestamptz
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[]) AS rejected
ON CONFLICT DO NOTHING
