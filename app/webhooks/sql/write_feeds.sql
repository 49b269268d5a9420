-- How many events the feeds have from now on.
INSERT INTO event_feeds (environment_id, last_position)
SELECT * FROM unnest($1::uuid[], $2::bigint[]) AS feed (environment_id, last_position) ORDER BY environment_id
ON CONFLICT (environment_id) DO UPDATE SET last_position = excluded.last_position
