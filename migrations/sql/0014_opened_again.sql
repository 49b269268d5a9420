-- A key that comes again after Redis has forgotten it opens its reservation once more: a row for each time, of which only the
-- last may be open. Why it is so: docs/decisions/0017-reservations.md.

-- A flusher of an earlier version would write no reservation any more.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND usename = 'quotastack_flusher') THEN
        RAISE EXCEPTION 'a flusher of an earlier version is at work' USING ERRCODE = 'object_in_use',
            HINT = 'Stop every flusher, then migrate. What comes meanwhile waits in Redis.';
    END IF;
END
$$;

ALTER TABLE reservations DROP CONSTRAINT reservations_pkey, ADD PRIMARY KEY (environment_id, id, opened_seq);
CREATE UNIQUE INDEX reservations_open_once ON reservations (environment_id, id) WHERE state = 'open';
