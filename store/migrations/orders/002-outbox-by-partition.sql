-- The relay reads the outbox partition by partition, so that a partition that waits delays no other.
CREATE INDEX outbox_by_partition ON outbox (partition_id, id);
