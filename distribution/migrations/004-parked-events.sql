-- What was put aside before every consumer did so in one way. The table parked_events stays for
-- programs of before; nothing reads it any more.
INSERT INTO parked_records
  (consumer, topic, partition_id, log_offset, item, tenant, order_id, cause, kind, payload, parked_at)
SELECT 'distribution', 'order-events', partition_id, log_offset, item, tenant, order_id, cause, kind, payload, parked_at
FROM parked_events
WHERE NOT EXISTS (
  SELECT 1 FROM parked_records p
  WHERE p.partition_id = parked_events.partition_id AND p.log_offset = parked_events.log_offset
    AND p.item = parked_events.item
);
