"""Test clocks: a sandbox environment whose time stands still until it is moved on.

Owns        freezing, advancing and resetting the clock of a sandbox environment.
Invariants  A clock never goes back, and no live environment has one. Once it has been moved on, everything that falls
            due until then is posted and published, dated as if time had passed.
Tables      test_clocks. Whoever brings an API key is told its environment's clock by `authenticate_key`; loading an
            account, composing it, and jobs read the table too.
Neighbours  Below: entitlements (loading). In Redis each account has the clock beside its figures
            (app/wire/scripts/set_clock.lua), so the edge and every script go by it.
Not mine    What falls due, and in which order: the flusher posts it. Windows of idempotency go by the real time.
"""
