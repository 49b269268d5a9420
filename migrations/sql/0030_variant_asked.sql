-- A payment does one thing: which variant the change was to that it came with. NULL = no change, or one from before this.
ALTER TABLE subscription_history
    ADD COLUMN variant_asked uuid;
