"""Who is on which plan, and what becomes of it.

Owns        subscriptions: the terms, the state, the period; their history; what clients may do with them, and what a
            move comes to for a customer with several (book); moving subscribers to a newer version; enrolment.
Invariants  46 to 52. At most one base subscription is in force and one to come; the free plan makes way and is fallen
            back to.
Tables      subscriptions, subscription_history; the flusher alone writes them.
Neighbours  Below: orders (give them), environments (the free plan), plans (terms), customers. Above: flusher (carries
            out what this decides), entitlements (compose it).
Not mine    What a subscription's next state is (rules/lifecycle, agenda, actions); posting it (flusher/subscribing).
"""
