-- The content of a plan snapshot.
SELECT content FROM snapshots WHERE environment_id = $1 AND id = $2
