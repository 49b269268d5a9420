-- What has no place in its feed yet, in the order in which it was written: within a customer that is the order of commits.
SELECT environment_id, id, type, end_user_id,
       CASE WHEN type LIKE 'webhook%' THEN data ->> 'webhook_endpoint_id' END AS about
FROM outbox WHERE position IS NULL ORDER BY arrival LIMIT $1
