"""The tenants' end users.

Owns        who there is: the tenant's own `end_user_id`, and our id behind it.
Invariants  one customer per (environment, end_user_id), also when two requests make it at once.
Tables      customers.
Neighbours  Above: ledger (the account has the customer's id), subscriptions. Below: trail.
Not mine    Their credit (ledger), their plan (subscriptions). A customer's account is made by a hook before the commit.
"""
