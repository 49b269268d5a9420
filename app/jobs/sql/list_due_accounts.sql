-- Accounts at which something is due that nobody has posted yet, the longest overdue first, after ($2, $3, $4). By $1, or by
-- the test clock of their environment: each of those has its own accounts looked at, however many there are of others. What
-- stands still is stepped over in the index, without a look at the rows.
SELECT due.valid_until, due.environment_id, due.id, a.end_user_id
FROM (
    (SELECT a.valid_until, a.environment_id, a.id
     FROM accounts a
     WHERE a.valid_until <= $1 AND (a.valid_until, a.environment_id, a.id) > ($2, $3, $4)
       AND a.environment_id NOT IN (SELECT c.environment_id FROM test_clocks c)
     ORDER BY a.valid_until, a.environment_id, a.id
     LIMIT $5)
    UNION ALL
    (SELECT d.valid_until, c.environment_id, d.id
     FROM test_clocks c
     CROSS JOIN LATERAL (
         SELECT a.valid_until, a.id
         FROM accounts a
         WHERE a.environment_id = c.environment_id AND a.valid_until <= c.frozen_at AND (a.valid_until, a.id) > ($2,
             CASE WHEN c.environment_id < $3 THEN 'ffffffff-ffff-ffff-ffff-ffffffffffff' WHEN c.environment_id = $3 THEN $4
                  ELSE '00000000-0000-0000-0000-000000000000' END)
         ORDER BY a.valid_until, a.id
         LIMIT $5
     ) AS d
     ORDER BY d.valid_until, c.environment_id, d.id
     LIMIT $5)
    ORDER BY valid_until, environment_id, id
    LIMIT $5
) AS due
JOIN accounts a ON a.environment_id = due.environment_id AND a.id = due.id
ORDER BY due.valid_until, due.environment_id, due.id
