-- Word of what a batch of the stream did, each with the next number of its customer; heads are locked in one order.
-- Reading a stream again finds it here already: that takes no number. An environment that does not exist hears nothing.
WITH announced AS (
    SELECT DISTINCT ON (environment_id, id) *
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[]) WITH ORDINALITY
         AS one (environment_id, id, type, end_user_id, data, created_at, number)
    ORDER BY environment_id, id, number
), new AS MATERIALIZED (
    SELECT a.*, row_number() OVER (PARTITION BY a.environment_id, a.end_user_id ORDER BY a.number) AS nth,
           count(*) OVER (PARTITION BY a.environment_id, a.end_user_id) AS of_customer
    FROM announced a
    JOIN environments e ON e.id = a.environment_id
    WHERE NOT EXISTS (SELECT FROM outbox o WHERE o.environment_id = a.environment_id AND o.id = a.id)
), heads AS (
    INSERT INTO outbox_heads AS h (environment_id, end_user_id, last_sequence)
    SELECT environment_id, coalesce(end_user_id, ''), count(*) FROM new GROUP BY environment_id, end_user_id
    ORDER BY 1, 2
    ON CONFLICT (environment_id, end_user_id) DO UPDATE SET last_sequence = h.last_sequence + excluded.last_sequence
    RETURNING environment_id, end_user_id, last_sequence
)
INSERT INTO outbox (environment_id, id, type, end_user_id, sequence, data, created_at)
SELECT n.environment_id, n.id, n.type, n.end_user_id, h.last_sequence - n.of_customer + n.nth, n.data::jsonb, n.created_at
FROM new n
JOIN heads h ON h.environment_id = n.environment_id AND h.end_user_id = coalesce(n.end_user_id, '')
ORDER BY n.number
