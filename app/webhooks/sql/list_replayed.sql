-- Events of a part of a feed, in its order; none of them is forgotten until the transaction ends.
SELECT environment_id, id, type, end_user_id,
       CASE WHEN type LIKE 'webhook%' THEN data ->> 'webhook_endpoint_id' END AS about
FROM outbox WHERE environment_id = $1 AND position BETWEEN $2 AND $3 ORDER BY position
FOR KEY SHARE
