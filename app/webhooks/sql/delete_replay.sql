-- A replay has come to its end.
DELETE FROM webhook_replays WHERE environment_id = $1 AND id = $2
