-- Reservations that should have ended at $1 or before, a thousand at most, and the first of them; not on test clocks.
SELECT count(*) AS reservations, min(expires_at) AS since
FROM (
    SELECT r.expires_at
    FROM reservations r
    WHERE r.state = 'open' AND r.expires_at <= $1
      AND NOT EXISTS (SELECT FROM test_clocks c WHERE c.environment_id = r.environment_id)
    ORDER BY r.expires_at
    LIMIT 1000
) AS overdue
