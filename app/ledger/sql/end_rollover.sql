-- Of blocks of subscriptions that have ended nothing goes on, should something come back to those that are spent.
UPDATE credit_blocks b
SET terms = jsonb_set(b.terms::jsonb, '{rollover,is_off}', 'true')::text
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS ended (environment_id, account_id, subscription_id)
WHERE b.environment_id = ended.environment_id AND b.account_id = ended.account_id AND NOT b.live
  AND b.terms::jsonb ? 'rollover' AND b.terms::jsonb #>> '{tie,subscription_id}' = ended.subscription_id::text
