-- Takes an operator's key; what was asked and answered under it where it is taken.
SELECT request, status, body FROM claim_operator_key($1, $2, $3, $4)
