"""What a tenant has set for one environment.

Owns        the free plan, whether end users are enrolled in it on first sight, and the thresholds of low credit.
Invariants  the free plan's present version is a base plan's, postpaid and without a trial; nobody is enrolled where
            there is none. An environment without a row has the defaults.
Tables      environment_settings.
Neighbours  Below: plans (what a version must be to be free, and who publishes the next one asks too). Above:
            subscriptions put customers on the free plan; the flusher tells where thresholds are crossed.
Not mine    Environments themselves and their keys (tenants); settings of processes (app/settings.py); what a crossing
            is (rules/thresholds.py).
"""
