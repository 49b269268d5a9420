-- Spent blocks of the subscriptions with which customers left the free plan are of those with which they came back.
UPDATE credit_blocks b
SET terms = (jsonb_set(b.terms::jsonb, '{tie,subscription_id}', to_jsonb(t.subscription_id)) #- '{rollover,is_off}')::text
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::uuid[])
    AS t (environment_id, account_id, left_id, expires_at, subscription_id)
WHERE b.environment_id = t.environment_id AND b.account_id = t.account_id AND NOT b.live
  AND b.expires_at = t.expires_at AND b.terms::jsonb #>> '{tie,subscription_id}' = t.left_id::text
