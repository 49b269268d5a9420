-- Of these subscriptions: whose they are, how they stand, and when they stood still: since, until, since, until.
SELECT s.id, s.customer_id, s.state, array_agg(h.at ORDER BY h.number) FILTER (WHERE h.at IS NOT NULL) AS turns
FROM subscriptions s
LEFT JOIN subscription_history h ON h.environment_id = s.environment_id AND h.subscription_id = s.id
    AND 'paused' IN (h.state_before, h.state_after) AND h.state_before <> h.state_after
WHERE s.environment_id = ANY ($1::uuid[]) AND s.id = ANY ($2::uuid[])
GROUP BY s.environment_id, s.id
