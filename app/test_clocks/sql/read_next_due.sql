-- When the first thing of the environment falls due, or has fallen due without being posted; NULL = nothing does.
SELECT least(
    (SELECT min(valid_until) FROM accounts WHERE environment_id = $1),
    (SELECT min(expires_at) FROM reservations WHERE environment_id = $1 AND state = 'open'))
