-- Which features read CloudEvents, of which type, and where they find the units.
SELECT event_type, key, units_from FROM features
WHERE environment_id = $1 AND event_type IS NOT NULL
