-- Stream ids of what is listed as rejected, by event id ($1) or by place in the stream ($2).
SELECT r.id, r.stream_id FROM rejected_events r WHERE r.id = ANY($1::uuid[]) OR r.stream_id = ANY($2::text[])
