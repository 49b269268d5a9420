-- Which CloudEvents a feature counts: those of one type, and the member of their data that holds the units (NULL = `units`,
-- and 1 where the event says nothing).
ALTER TABLE features
    ADD COLUMN event_type  text CHECK (char_length(event_type) BETWEEN 1 AND 256),
    ADD COLUMN units_from  text CHECK (char_length(units_from) BETWEEN 1 AND 256),
    ADD CONSTRAINT features_units_from_is_of_an_event_type CHECK (event_type IS NOT NULL OR units_from IS NULL);
