-- What happens to these blocks by themselves, beside their expiry.
UPDATE credit_blocks b
SET terms = changed.terms
FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS changed (environment_id, id, terms)
WHERE b.environment_id = changed.environment_id AND b.id = changed.id
