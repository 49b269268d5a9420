-- I am alive, for as long as a lease lasts.
INSERT INTO flushers (owner, alive_until) VALUES ($1, clock_timestamp() + $2::interval)
ON CONFLICT (owner) DO UPDATE SET alive_until = excluded.alive_until
