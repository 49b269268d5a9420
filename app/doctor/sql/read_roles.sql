-- The login roles of the processes ($1): which there are, and which could do more than they need.
SELECT wanted.name, r.rolname IS NOT NULL AS is_there,
       coalesce(r.rolsuper OR r.rolbypassrls OR r.rolcreatedb OR r.rolcreaterole OR r.rolreplication, false) AS is_mighty
FROM unnest($1::text[]) AS wanted (name)
LEFT JOIN pg_roles r ON r.rolname = wanted.name
