-- Entries that cannot be posted. Reading a stream again finds them here already; a later entry of the same event is one that
-- was retried, or sent again, and takes the place of the earlier.
INSERT INTO rejected_events AS r (environment_id, id, end_user_id, stream_id, code, detail, entry, recorded_at)
SELECT DISTINCT ON (rejected.environment_id, rejected.id) rejected.environment_id, rejected.id, rejected.end_user_id,
       rejected.stream_id, rejected.code, rejected.detail, rejected.entry, $8::timestamptz
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[]) WITH ORDINALITY
     AS rejected (environment_id, id, end_user_id, stream_id, code, detail, entry, number)
ORDER BY rejected.environment_id, rejected.id, rejected.number DESC
ON CONFLICT (environment_id, id) DO UPDATE
SET stream_id = excluded.stream_id, code = excluded.code, detail = excluded.detail, entry = excluded.entry,
    recorded_at = excluded.recorded_at, retried_at = NULL
WHERE string_to_array(excluded.stream_id, '-')::numeric[] > string_to_array(r.stream_id, '-')::numeric[]
