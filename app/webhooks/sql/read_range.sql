-- Between which places of the feed stands what was told in a time.
SELECT min(position), max(position) FROM outbox WHERE environment_id = $1 AND relayed_at >= $2 AND relayed_at < $3
