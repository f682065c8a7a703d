-- The ledger. Portable SQL: no engine, no character set; the database compares text by its bytes. Ids, times and money are BIGINT,
-- times in epoch milliseconds by the database's clock.

-- The shard map that the order tables were made for. One row.
CREATE TABLE IF NOT EXISTS shard_map (
  id TINYINT UNSIGNED NOT NULL PRIMARY KEY,
  version INT UNSIGNED NOT NULL,
  shards SMALLINT UNSIGNED NOT NULL,
  tables SMALLINT UNSIGNED NOT NULL
);

-- How far each partition of the order log is decided (R10). log_offset: the next to decide; record_id: of the record before it, 0 for
-- none; log_id: of the genesis, the bits of an unsigned number.
CREATE TABLE IF NOT EXISTS partitions (
  partition_id INT UNSIGNED NOT NULL PRIMARY KEY,
  generation SMALLINT UNSIGNED NOT NULL,
  log_id BIGINT NOT NULL,
  log_offset BIGINT NOT NULL,
  record_id BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS lanes (
  lane BIGINT NOT NULL PRIMARY KEY,
  tenant INT UNSIGNED NOT NULL,
  sale BIGINT NOT NULL,
  partition_id INT UNSIGNED NOT NULL,
  epoch BIGINT NOT NULL,
  limit_per_buyer SMALLINT UNSIGNED NOT NULL,
  opens_at BIGINT NOT NULL
);

-- changed_at: packed position of the last stock delta, 0 for none.
CREATE TABLE IF NOT EXISTS offers (
  offer BIGINT NOT NULL PRIMARY KEY,
  lane BIGINT NOT NULL,
  allotment BIGINT NOT NULL,
  sold BIGINT NOT NULL,
  sale_version INT UNSIGNED NOT NULL,
  changed_at BIGINT NOT NULL
);

-- A row per decided log record, never per order. units: pairs of offer and signed units, 8 bytes each, big endian. decisions: a byte
-- per reservation.
CREATE TABLE IF NOT EXISTS movements (
  partition_id INT UNSIGNED NOT NULL,
  generation SMALLINT UNSIGNED NOT NULL,
  log_offset BIGINT NOT NULL,
  lane BIGINT NULL,
  units VARBINARY(1024) NOT NULL,
  decisions VARBINARY(256) NOT NULL,
  PRIMARY KEY (partition_id, generation, log_offset)
);

-- The numbers of engines. Free: never leased (0), or ended 60 s ago.
CREATE TABLE IF NOT EXISTS workers (
  number SMALLINT UNSIGNED NOT NULL PRIMARY KEY,
  holder VARCHAR(190) NOT NULL,
  ends_at BIGINT NOT NULL
);

INSERT INTO workers (number, holder, ends_at)
WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 255)
SELECT n, '', 0 FROM numbers WHERE NOT EXISTS (SELECT 1 FROM workers);
