-- Blocks that were scheduled, with what was granted of them; before what is left of them is updated.
UPDATE credit_blocks b
SET is_scheduled = false, granted_micro = settled.granted_micro,
    remaining_micro = settled.granted_micro, live = settled.granted_micro > 0
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS settled (environment_id, id, granted_micro)
WHERE b.environment_id = settled.environment_id AND b.id = settled.id
