-- Accounts of the environment after $3, and whether anything is due there by $2.
SELECT id, end_user_id, coalesce(valid_until <= $2, false) AS is_due FROM accounts
WHERE environment_id = $1 AND id > $3
ORDER BY id
LIMIT $4
