"""What customers can subscribe to.

Owns        plans, their variants (monthly, yearly, …), the immutable versions of a variant, and what a version grants
            and includes.
Invariants  a version is never changed; editing a variant publishes another one, and subscribers stay on theirs.
Tables      plans, plan_variants, plan_variant_versions, plan_grants, plan_features; a version's own prices: prices.
Neighbours  Below: metering (features and prices). Above: environments (which variant is the free
            plan), subscriptions; `entitlements` composes versions to snapshots.
Not mine    Who is subscribed (subscriptions); the credit that a grant turned into (ledger).
"""
