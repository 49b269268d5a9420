"""Telling tenants what happened: endpoints, deliveries in order, and the feed.

Owns        webhook endpoints and their secrets, which event goes where, queues, attempts, replays, and the feed of an
            environment's events.
Invariants  57 (each event is delivered at least once or parked, in order per customer, under one id), 58 (secrets are
            derived, never stored). A queue's row says how many wait in it, and is there while any does. Whoever locks
            several goes from endpoints to queues to deliveries, each in the order of its key.
Tables      webhook_endpoints, webhook_deliveries, webhook_queues, webhook_attempts, webhook_replays; of the trail
            event_feeds, and the position of what is in the outbox.
Neighbours  Below: trail (the outbox, which numbers what happened). Above: jobs, which numbers, delivers and forgets.
Not mine    What there is to be told (every domain leaves word itself); when an attempt is made again (rules/retry);
            how bytes get to a stranger (io/outbound).
"""
