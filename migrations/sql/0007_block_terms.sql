-- What happens to a block by itself. A scheduled one is granted by the flusher when it becomes effective; under a cap that may
-- be less than was asked, or nothing.
ALTER TABLE credit_blocks
    ADD COLUMN is_scheduled  boolean NOT NULL DEFAULT false,
    -- JSON: who granted it and why, the cap of its source, what of it goes on when it expires (app/rules/burndown.py, Terms).
    ADD COLUMN terms         text,
    DROP CONSTRAINT credit_blocks_granted_micro_check,
    ADD CONSTRAINT credit_blocks_granted_micro_check CHECK (granted_micro >= 0);

-- Many accounts can be due at one moment; they are looked through page by page.
DROP INDEX accounts_valid_until;
CREATE INDEX accounts_due ON accounts (valid_until, environment_id, id) WHERE valid_until IS NOT NULL;
