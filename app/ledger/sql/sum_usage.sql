-- Usage by time, customer and feature, in [$4, $5); what is NULL does not narrow it. Goes on after ($7, $8, $9).
SELECT * FROM (
    SELECT CASE $6::text WHEN 'total' THEN $4::timestamptz ELSE date_trunc($6, e.occurred_at, 'UTC') END AS start_at,
           a.end_user_id, e.feature_key, sum(e.units_micro) AS units_micro, sum(e.cost_micro) AS cost_micro,
           count(*) AS events
    FROM usage_events e
    JOIN accounts a ON a.environment_id = e.environment_id AND a.id = e.account_id
    WHERE e.environment_id = $1 AND ($2::text IS NULL OR a.end_user_id = $2)
      AND ($3::text IS NULL OR e.feature_key = $3) AND e.occurred_at >= $4 AND e.occurred_at < $5
    GROUP BY start_at, a.end_user_id, e.feature_key
) AS usage
WHERE $7::timestamptz IS NULL OR (start_at, end_user_id, feature_key) > ($7, $8::text, $9::text)
ORDER BY start_at, end_user_id, feature_key
LIMIT $10
