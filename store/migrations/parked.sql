-- What consumers of topics put aside with its cause, as it came, in the transaction that moved their
-- position past it. item: which part of its record. tenant and order_id are 0 where nobody can read
-- them. Each service that consumes has this table in a database of its own.
CREATE TABLE parked_records (
  consumer VARCHAR(64) NOT NULL,
  topic VARCHAR(64) NOT NULL,
  partition_id INT UNSIGNED NOT NULL,
  log_offset BIGINT NOT NULL,
  item INT NOT NULL,
  tenant BIGINT NOT NULL,
  order_id BIGINT NOT NULL,
  cause VARCHAR(191) NOT NULL,
  kind VARCHAR(64) NOT NULL,
  payload MEDIUMBLOB NOT NULL,
  parked_at BIGINT NOT NULL,
  PRIMARY KEY (consumer, topic, partition_id, log_offset, item)
);
