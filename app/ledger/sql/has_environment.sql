-- Whether there is such an environment.
SELECT EXISTS (SELECT FROM environments e WHERE e.id = $1)
