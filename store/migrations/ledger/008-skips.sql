-- Records that an operator set aside, although only a newer program can decide them: the writer parks them and goes on. record_id: 0
-- for none.
CREATE TABLE skips (
  partition_id INT UNSIGNED NOT NULL,
  log_offset BIGINT NOT NULL,
  record_id BIGINT NOT NULL,
  skipped_at BIGINT NOT NULL,
  PRIMARY KEY (partition_id, log_offset, record_id)
);

-- Rows that a shard lost and the log cannot give back: those of the records from_offset to to_offset of a generation. found_at: when; done_at:
-- when what the lanes hold of them was written again, 0 before.
CREATE TABLE losses (
  partition_id INT UNSIGNED NOT NULL,
  generation SMALLINT UNSIGNED NOT NULL,
  shard SMALLINT UNSIGNED NOT NULL,
  from_offset BIGINT NOT NULL,
  to_offset BIGINT NOT NULL,
  found_at BIGINT NOT NULL,
  done_at BIGINT NOT NULL,
  rebuilt BIGINT NOT NULL,
  PRIMARY KEY (partition_id, generation, shard, from_offset)
);

-- What stays lost: an order that the lanes hold and nobody can write again (order_id), or units that the ledger counts as sold and no row
-- tells of (order_id 0). For people.
CREATE TABLE lost_orders (
  partition_id INT UNSIGNED NOT NULL,
  offer BIGINT NOT NULL,
  order_id BIGINT NOT NULL,
  units BIGINT NOT NULL,
  cause VARCHAR(2000) NOT NULL,
  found_at BIGINT NOT NULL,
  PRIMARY KEY (partition_id, offer, order_id)
);
