-- Puts the answer beside an operator's key.
SELECT remember_operator_answer($1, $2, $3, $4)
