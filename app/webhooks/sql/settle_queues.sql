-- Queues are shorter by what is over, and due again when it is time; those that go on stay with whoever has them. They are
-- locked, so how many wait is what it is.
UPDATE webhook_queues q
SET waiting = q.waiting - t.done, due_at = t.due_at, claim = CASE WHEN t.goes_on THEN q.claim END
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::integer[], $5::timestamptz[], $6::boolean[])
     AS t (environment_id, endpoint_id, end_user_id, done, due_at, goes_on)
WHERE q.environment_id = t.environment_id AND q.endpoint_id = t.endpoint_id AND q.end_user_id = t.end_user_id
RETURNING q.environment_id, q.endpoint_id, q.end_user_id, q.waiting, t.goes_on
