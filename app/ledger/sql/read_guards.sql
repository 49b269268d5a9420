-- Of each table: whether it has its key, and whether it refuses changes.
SELECT wanted.name,
       EXISTS (SELECT FROM pg_index i
               WHERE i.indrelid = to_regclass(wanted.name) AND i.indisprimary AND i.indisvalid) AS has_key,
       EXISTS (SELECT FROM pg_trigger t
               WHERE t.tgrelid = to_regclass(wanted.name) AND t.tgname = 'written_once' AND t.tgenabled = 'A')
       AS refuses_change
FROM unnest($1::text[]) AS wanted (name)
