-- Whether anything of the environment that is due by $2 is not posted.
SELECT EXISTS (SELECT FROM accounts WHERE environment_id = $1 AND valid_until <= $2)
    OR EXISTS (SELECT FROM reservations WHERE environment_id = $1 AND state = 'open' AND expires_at <= $2)
