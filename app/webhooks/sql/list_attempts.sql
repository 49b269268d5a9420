-- The latest attempts of deliveries, $3 of each, the earliest of them first.
SELECT latest.* FROM unnest($2::uuid[]) AS asked (id)
CROSS JOIN LATERAL (
    SELECT delivery_id, number, at, status, failure, elapsed_ms, answer FROM webhook_attempts
    WHERE environment_id = $1 AND delivery_id = asked.id ORDER BY number DESC LIMIT $3
) AS latest
ORDER BY latest.delivery_id, latest.number
