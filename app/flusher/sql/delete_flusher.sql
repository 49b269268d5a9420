-- My share is the others' from now on.
DELETE FROM flushers WHERE owner = $1
