-- Accounts at which something has been due since $1 or longer, a thousand at most, and since when; not on test clocks.
SELECT count(*) AS accounts, min(valid_until) AS since
FROM (
    SELECT a.valid_until
    FROM accounts a
    WHERE a.valid_until <= $1 AND NOT EXISTS (SELECT FROM test_clocks c WHERE c.environment_id = a.environment_id)
    ORDER BY a.valid_until
    LIMIT 1000
) AS overdue
