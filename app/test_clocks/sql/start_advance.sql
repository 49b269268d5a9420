-- The clock is on its way.
UPDATE test_clocks SET advanced_from = $2, advancing_to = $3, moved_under = $4 WHERE environment_id = $1
