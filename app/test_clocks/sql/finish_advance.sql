-- The clock has arrived, unless it was sent further meanwhile.
UPDATE test_clocks SET advanced_from = NULL, advancing_to = NULL WHERE environment_id = $1 AND advancing_to = $2
