-- The environment has a clock from now on; what is due by then has still to be posted.
INSERT INTO test_clocks (environment_id, frozen_at, advanced_from, advancing_to, created_at, moved_under)
VALUES ($1, $2, $2, $2, $3, $4)
ON CONFLICT DO NOTHING
