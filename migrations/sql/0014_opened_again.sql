-- A key that comes again after Redis has forgotten it opens its reservation once more: a row for each time, of which only the
-- last may be open. Why it is so: docs/decisions/0017-reservations.md.
ALTER TABLE reservations DROP CONSTRAINT reservations_pkey, ADD PRIMARY KEY (environment_id, id, opened_seq);
CREATE UNIQUE INDEX reservations_open_once ON reservations (environment_id, id) WHERE state = 'open';
