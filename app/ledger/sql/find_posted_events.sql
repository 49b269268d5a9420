-- Which of these events the ledger has already.
SELECT e.environment_id, e.id
FROM usage_events e
JOIN unnest($1::uuid[], $2::uuid[]) AS asked (environment_id, id) USING (environment_id, id)
