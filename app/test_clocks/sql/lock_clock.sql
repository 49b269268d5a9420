-- The same, of a row that nobody else changes until the transaction ends.
SELECT frozen_at, advanced_from, advancing_to, moved_under FROM test_clocks WHERE environment_id = $1 FOR UPDATE
