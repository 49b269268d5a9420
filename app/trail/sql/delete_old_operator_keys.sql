-- Some of the operators' keys that were used long ago.
DELETE FROM operator_keys
WHERE (route, key) IN (SELECT route, key FROM operator_keys WHERE created_at < $1 ORDER BY created_at LIMIT $2)
