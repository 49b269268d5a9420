"""What one customer has of a feature in place of what their plan says.

Owns        overrides: a value, a limit, an overage policy, or whether the feature is included at all, for a time or
            until it is taken away.
Invariants  one per customer and feature. It beats the plan, and the feature's defaults; the edge knows of it before the
            answer. What it does not set stays as the plan says. One that has expired is not composed.
Tables      overrides.
Neighbours  Below: customers, metering (what a feature of its kind may have). Above: `entitlements` composes them.
Not mine    Prices (plans and metering); what a snapshot makes of an override (entitlements/overriding).
"""
