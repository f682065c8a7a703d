-- How far a consumer of a topic is, in the database in which it keeps what it makes of the records:
-- both move in one transaction. log_offset: the next record. Each service that consumes has this
-- table in a database of its own.
CREATE TABLE consumer_positions (
  consumer VARCHAR(64) NOT NULL,
  topic VARCHAR(64) NOT NULL,
  partition_id INT UNSIGNED NOT NULL,
  log_offset BIGINT NOT NULL,
  PRIMARY KEY (consumer, topic, partition_id)
);
