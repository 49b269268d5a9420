-- The rows of this environment are seen and written until the transaction ends.
SELECT set_config('app.environment_id', $1, true)
