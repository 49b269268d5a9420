-- Where the environment's clock stands, and where it is on its way.
SELECT frozen_at, advanced_from, advancing_to, moved_under FROM test_clocks WHERE environment_id = $1
