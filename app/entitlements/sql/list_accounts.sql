-- Every account of the environment.
SELECT id FROM accounts WHERE environment_id = $1
