-- Keys of a batch's usage events: whichever the ledger has already is refused here. In the order of the index, whose pages
-- are then each come to once: the ids of a batch lie all over it.
INSERT INTO usage_event_keys (environment_id, id, account_id, seq, accepted_at)
SELECT environment_id, id, account_id, seq, timestamptz 'epoch' + accepted_at * interval '1 microsecond'
FROM incoming_events
ORDER BY environment_id, id
