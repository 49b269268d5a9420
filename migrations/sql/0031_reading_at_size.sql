-- What is read in pages is read in the order of an index, so that a page costs what is on it and not what an environment has.

CREATE INDEX subscriptions_made ON subscriptions (environment_id, created_at, id);
CREATE INDEX subscriptions_of_variant ON subscriptions (environment_id, variant_id, id) WHERE state NOT IN ('canceled', 'expired');

-- What is due in one environment, by its test clock. `accounts_due` leads with the moment, for those that go by the real time;
-- both are written where an account's boundary moves, and by no other update.
CREATE INDEX accounts_due_there ON accounts (environment_id, valid_until, id) WHERE valid_until IS NOT NULL;
