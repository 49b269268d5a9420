-- Word of something that happened, with the next number of its customer: the head is locked until the commit, so that
-- numbers come in the order of commits.
WITH head AS (
    INSERT INTO outbox_heads AS h (environment_id, end_user_id, last_sequence)
    VALUES ($1::uuid, coalesce($4::text, ''), 1)
    ON CONFLICT (environment_id, end_user_id) DO UPDATE SET last_sequence = h.last_sequence + 1
    RETURNING last_sequence
)
INSERT INTO outbox (environment_id, id, type, end_user_id, sequence, data, created_at, traceparent)
SELECT $1, $2, $3, $4, head.last_sequence, $5::jsonb, $6, $7 FROM head
