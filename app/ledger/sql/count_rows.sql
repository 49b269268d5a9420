-- How much there is to prove, and what is listed as rejected of these environments and end users ($3, NULL = of all).
SELECT (SELECT count(*) FROM accounts a WHERE ($1::uuid[] IS NULL OR a.environment_id = ANY($1)) AND ($2::uuid[] IS NULL OR a.id = ANY($2))) AS accounts,
       (SELECT count(*) FROM usage_events e WHERE ($1::uuid[] IS NULL OR e.environment_id = ANY($1)) AND ($2::uuid[] IS NULL OR e.account_id = ANY($2))) AS events,
       (SELECT count(*) FROM rejected_events r
        WHERE ($1::uuid[] IS NULL OR r.environment_id = ANY($1)) AND ($3::text IS NULL OR r.end_user_id = $3))
       AS rejected
