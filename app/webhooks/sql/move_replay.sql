-- So far a replay has come.
UPDATE webhook_replays SET next_position = $3 WHERE environment_id = $1 AND id = $2
