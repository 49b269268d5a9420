-- What is left of the blocks that a batch drew from or that expired.
UPDATE credit_blocks b
SET remaining_micro = changed.remaining_micro, live = changed.remaining_micro > 0
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS changed (environment_id, id, remaining_micro)
WHERE b.environment_id = changed.environment_id AND b.id = changed.id
