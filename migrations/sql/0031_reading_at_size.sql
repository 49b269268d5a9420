-- What is read in pages is read in the order of an index, so that a page costs what is on it and not what an environment has.

CREATE INDEX subscriptions_made ON subscriptions (environment_id, created_at, id);
CREATE INDEX subscriptions_of_variant ON subscriptions (environment_id, variant_id, id) WHERE state NOT IN ('canceled', 'expired');
