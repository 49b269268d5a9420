-- Who is logged in, by what its process calls itself.
SELECT s.application_name, s.usename::text AS role, count(*) AS sessions
FROM pg_stat_activity s
WHERE s.datname = current_database() AND s.application_name LIKE 'quotastack %'
GROUP BY 1, 2
ORDER BY 1, 2
