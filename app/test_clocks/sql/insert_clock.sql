-- The environment has a clock from now on. It stands at $2 and is on its way to $3; what is due by then has still to be posted.
INSERT INTO test_clocks (environment_id, frozen_at, advanced_from, advancing_to, created_at, moved_under)
VALUES ($1, $2, $3, $3, $4, $5)
ON CONFLICT DO NOTHING
