-- Accounts, locked in the order of every writer, with the plan version that their subscription in force is on.
SELECT a.id, s.state, s.variant_version_id
FROM accounts a
LEFT JOIN subscriptions s ON s.environment_id = a.environment_id AND s.customer_id = a.id
     AND s.state NOT IN ('canceled', 'expired')
WHERE a.environment_id = $1 AND a.id = ANY($2::uuid[])
ORDER BY a.environment_id, a.id
FOR UPDATE OF a
