-- Queues to which something is added, locked in one order before the deliveries that may wait in them: so does whoever sends
-- them. One that is not there is made; something that is added does not wait already, for else it were there.
INSERT INTO webhook_queues AS q (environment_id, endpoint_id, end_user_id, waiting, due_at)
SELECT environment_id, endpoint_id, end_user_id, 0, $4
FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS t (environment_id, endpoint_id, end_user_id)
ORDER BY environment_id, endpoint_id, end_user_id
ON CONFLICT (environment_id, endpoint_id, end_user_id) DO UPDATE SET waiting = q.waiting
