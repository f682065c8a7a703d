-- A shard. Portable SQL: no engine, no character set; the database compares text by its bytes. Ids, times and money are BIGINT,
-- times in epoch milliseconds. {table} is 0, 1, ... of the shard map.

-- A row per decided reservation, rejected ones too. Narrow, in time order by its primary key, and no third index: this is the table
-- that a sale writes to.
--   number        unique with buyer and lane while the order holds units; null once released, and for rejected orders
--   status, reason  domain::order
--   position      where the reservation stands in the log, packed: tells a replay from a duplicate
--   released_pos  where its release stands in the log; set once (R1)
--   reserved_at   by the engine's clock
CREATE TABLE IF NOT EXISTS orders_{table} (
  order_id BIGINT NOT NULL PRIMARY KEY,
  tenant INT UNSIGNED NOT NULL,
  buyer BIGINT NOT NULL,
  lane BIGINT NOT NULL,
  number TINYINT UNSIGNED NULL,
  sale BIGINT NOT NULL,
  sale_version INT UNSIGNED NOT NULL,
  offer BIGINT NOT NULL,
  sku BIGINT NOT NULL,
  quantity SMALLINT UNSIGNED NOT NULL,
  unit_price BIGINT NOT NULL,
  currency CHAR(3) NOT NULL,
  key_hash BINARY(16) NOT NULL,
  status TINYINT UNSIGNED NOT NULL,
  reason TINYINT UNSIGNED NULL,
  position BIGINT NOT NULL,
  released_pos BIGINT NULL,
  reserved_at BIGINT NOT NULL,
  context VARBINARY(256) NOT NULL,
  CONSTRAINT purchase UNIQUE (buyer, lane, number)
);

-- How far each partition's records are in this shard's rows: compared and set in the transaction that writes them (R2, R11).
-- log_offset: the next; record_id: of the record before it, 0 for none.
CREATE TABLE IF NOT EXISTS progress (
  partition_id INT UNSIGNED NOT NULL PRIMARY KEY,
  generation SMALLINT UNSIGNED NOT NULL,
  log_offset BIGINT NOT NULL,
  record_id BIGINT NOT NULL
);

-- `released` records on their way into the log: made with the change of status, kept until the ledger has passed them (R8).
CREATE TABLE IF NOT EXISTS outbox (
  id BIGINT NOT NULL PRIMARY KEY,
  order_id BIGINT NOT NULL,
  lane BIGINT NOT NULL,
  partition_id INT UNSIGNED NOT NULL,
  payload VARBINARY(1024) NOT NULL,
  created_at BIGINT NOT NULL
);
