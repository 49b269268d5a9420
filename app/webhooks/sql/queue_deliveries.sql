-- Events wait for endpoints, each at the end of its queue, in this order. One that was delivered or parked before waits once
-- more; one that waits already stays where it is. Queues are locked in one order.
WITH queued AS (
    INSERT INTO webhook_deliveries AS d (environment_id, id, endpoint_id, event_id, end_user_id, place, state, attempts,
                                         attempts_before, created_at)
    SELECT environment_id, id, endpoint_id, event_id, end_user_id, nextval('webhook_places'), 'pending', 0, 0, $6
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[]) WITH ORDINALITY
         AS wanted (environment_id, id, endpoint_id, event_id, end_user_id, number)
    ORDER BY number
    ON CONFLICT (environment_id, event_id, endpoint_id) DO UPDATE
    SET state = 'pending', place = excluded.place, attempts_before = d.attempts, finished_at = NULL
    WHERE d.state <> 'pending'
    RETURNING environment_id, endpoint_id, end_user_id
), waiting AS (
    INSERT INTO webhook_queues AS q (environment_id, endpoint_id, end_user_id, waiting, due_at)
    SELECT environment_id, endpoint_id, end_user_id, count(*), $6 FROM queued
    GROUP BY environment_id, endpoint_id, end_user_id ORDER BY environment_id, endpoint_id, end_user_id
    ON CONFLICT (environment_id, endpoint_id, end_user_id) DO UPDATE SET waiting = q.waiting + excluded.waiting
)
SELECT count(*) FROM queued
