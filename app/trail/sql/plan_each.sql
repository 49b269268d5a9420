-- Plan the statements of this transaction for the values that they are run with.
SET LOCAL plan_cache_mode = force_custom_plan
