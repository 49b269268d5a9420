-- How far a partition of the stream has been posted.
SELECT c.incarnation, c.last_id FROM stream_cursors c WHERE c.partition = $1
