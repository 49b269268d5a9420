-- Accounts of the environment after $3, and whether anything is due there by $2; with $5 only those where it is.
SELECT id, end_user_id, coalesce(valid_until <= $2, false) AS is_due FROM accounts
WHERE environment_id = $1 AND id > $3 AND (NOT $5 OR valid_until <= $2)
ORDER BY id
LIMIT $4
