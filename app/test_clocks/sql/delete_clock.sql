-- The environment goes by the real time.
DELETE FROM test_clocks WHERE environment_id = $1
