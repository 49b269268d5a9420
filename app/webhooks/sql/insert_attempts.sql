-- Attempts that were made; which of them were not written down before, by a transaction whose commit was not heard of.
INSERT INTO webhook_attempts (environment_id, delivery_id, number, at, status, failure, elapsed_ms, answer)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::timestamptz[], $5::smallint[], $6::text[], $7::integer[],
                     $8::text[])
ON CONFLICT DO NOTHING
RETURNING environment_id, delivery_id
