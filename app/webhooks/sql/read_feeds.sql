-- How many events the feeds of environments have.
SELECT environment_id, last_position FROM event_feeds WHERE environment_id = ANY ($1::uuid[])
