-- How far each partition of the stream has been posted.
SELECT c.partition, c.incarnation, c.last_id FROM stream_cursors c ORDER BY c.partition
