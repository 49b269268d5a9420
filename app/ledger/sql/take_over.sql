-- Spent blocks of the subscription with which a customer left the free plan are of that with which they came back.
UPDATE credit_blocks
SET terms = (jsonb_set(terms::jsonb, '{tie,subscription_id}', to_jsonb($6::uuid)) #- '{rollover,is_off}')::text
WHERE environment_id = $1 AND account_id = $2 AND NOT live AND effective_at >= $4 AND expires_at = $5
  AND terms::jsonb #>> '{tie,subscription_id}' = ($3::uuid)::text
