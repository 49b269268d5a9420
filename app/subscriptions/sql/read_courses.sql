-- Of these subscriptions: whose they are, how they stand, when they stood still (since, until, since, until), and from
-- where on what rolled over is lost, since the last thing that became of them was that they ended overdue.
SELECT s.id, s.customer_id, s.state, array_agg(h.at ORDER BY h.number) FILTER (WHERE h.at IS NOT NULL) AS turns,
       CASE WHEN last.state_before = 'overdue' THEN s.period_end_at END AS lost_from
FROM subscriptions s
LEFT JOIN subscription_history h ON h.environment_id = s.environment_id AND h.subscription_id = s.id
    AND 'paused' IN (h.state_before, h.state_after) AND h.state_before <> h.state_after
LEFT JOIN LATERAL (
    SELECT state_before FROM subscription_history
    WHERE environment_id = s.environment_id AND subscription_id = s.id
    ORDER BY number DESC LIMIT 1
) last ON s.state IN ('canceled', 'expired')
WHERE s.environment_id = ANY ($1::uuid[]) AND s.id = ANY ($2::uuid[])
GROUP BY s.environment_id, s.id, last.state_before
