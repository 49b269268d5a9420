-- Accounts whose newest figures core could not bring to the edge, and nobody after it.
SELECT count(*) AS accounts FROM dirty_accounts
