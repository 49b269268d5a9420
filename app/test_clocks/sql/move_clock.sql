-- The clock stands there, unless it is beyond by now.
UPDATE test_clocks SET frozen_at = $2 WHERE environment_id = $1 AND frozen_at < $2
