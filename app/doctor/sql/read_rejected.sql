-- Rejected usage since $1 that nobody has sent again, by code.
SELECT r.code, count(*) AS entries
FROM rejected_events r
WHERE r.recorded_at >= $1 AND r.retried_at IS NULL
GROUP BY 1
ORDER BY 2 DESC, 1
