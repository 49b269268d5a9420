-- The last moment that anything of the environment was posted at; NULL = nothing was.
SELECT max(posted_at) FROM accounts WHERE environment_id = $1
