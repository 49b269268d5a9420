-- Which of these events the ledger has already.
SELECT k.environment_id, k.id
FROM usage_event_keys k
JOIN unnest($1::uuid[], $2::uuid[]) AS asked (environment_id, id) USING (environment_id, id)
