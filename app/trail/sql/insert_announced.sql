-- Word of what a batch of the stream did. Reading a stream again finds it here already.
INSERT INTO outbox (environment_id, id, type, end_user_id, data, created_at)
SELECT environment_id, id, type, end_user_id, data::jsonb, created_at
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[]) WITH ORDINALITY
     AS announced (environment_id, id, type, end_user_id, data, created_at, number)
ORDER BY number
ON CONFLICT (environment_id, id) DO NOTHING
