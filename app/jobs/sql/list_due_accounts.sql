-- Accounts at which something is due that nobody has posted yet, the longest overdue first, after ($2, $3, $4). By $1, or by
-- the test clock of their environment.
SELECT valid_until, environment_id, id, end_user_id
FROM (
    (SELECT a.valid_until, a.environment_id, a.id, a.end_user_id
     FROM accounts a
     WHERE a.valid_until <= $1 AND (a.valid_until, a.environment_id, a.id) > ($2, $3, $4)
       AND NOT EXISTS (SELECT FROM test_clocks c WHERE c.environment_id = a.environment_id)
     ORDER BY a.valid_until, a.environment_id, a.id
     LIMIT $5)
    UNION ALL
    (SELECT a.valid_until, a.environment_id, a.id, a.end_user_id
     FROM test_clocks c
     JOIN accounts a ON a.environment_id = c.environment_id AND a.valid_until <= c.frozen_at
     WHERE (a.valid_until, a.environment_id, a.id) > ($2, $3, $4)
     ORDER BY a.valid_until, a.environment_id, a.id
     LIMIT $5)
) AS due
ORDER BY valid_until, environment_id, id
LIMIT $5
