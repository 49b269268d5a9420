-- A price for usage whose properties match, beside the one for everybody ('{}'). Versions count through both.
ALTER TABLE prices ADD COLUMN match jsonb NOT NULL DEFAULT '{}';
