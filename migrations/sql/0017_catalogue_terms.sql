-- A grant has a key, the same in all versions of its variant, so that what is given once is given once whatever is
-- published. Those that were made before are called by their place.
ALTER TABLE plan_grants ADD COLUMN key text CHECK (key ~ '^[a-z0-9_.-]{1,64}$');
UPDATE plan_grants g SET key = placed.place::text
FROM (
    SELECT environment_id, id, row_number() OVER (PARTITION BY environment_id, variant_version_id ORDER BY id) AS place
    FROM plan_grants
) AS placed
WHERE placed.environment_id = g.environment_id AND placed.id = g.id;
ALTER TABLE plan_grants
    ALTER COLUMN key SET NOT NULL,
    ADD UNIQUE (environment_id, variant_version_id, key);
DROP INDEX plan_grants_version;

-- What is granted once has no cycle. Where its credit lived to the end of one, it lives for as long.
ALTER TABLE plan_grants
    ALTER COLUMN interval_unit DROP NOT NULL,
    ALTER COLUMN interval_count DROP NOT NULL;
UPDATE plan_grants SET
    expires_after_unit = coalesce(expires_after_unit, interval_unit),
    expires_after_count = coalesce(expires_after_count, interval_count),
    interval_unit = NULL,
    interval_count = NULL
WHERE once;
ALTER TABLE plan_grants
    ADD CHECK ((interval_unit IS NULL) = once),
    ADD CHECK ((interval_count IS NULL) = once);

-- A plan is called otherwise, and is nothing else.
GRANT UPDATE (name) ON plans TO quotastack_core;
