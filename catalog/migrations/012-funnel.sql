-- How sales sell, counted: catalog/src/funnel.rs. Counts of a sale change under the lock of its row
-- in funnel_sales.

-- revision: rises with each change of the sale's counts.
CREATE TABLE funnel_sales (
  sale BIGINT NOT NULL PRIMARY KEY,
  tenant BIGINT NOT NULL,
  revision BIGINT NOT NULL
);

-- width: seconds that a row stands for, from at_s on, in seconds since 1970; 0: the whole sale.
-- revision: the last change of the row. counts: packed by domain::counts.
CREATE TABLE funnel_counts (
  sale BIGINT NOT NULL,
  width INT NOT NULL,
  at_s BIGINT NOT NULL,
  offer BIGINT NOT NULL,
  revision BIGINT NOT NULL,
  counts BLOB NOT NULL,
  PRIMARY KEY (sale, width, at_s, offer)
);

CREATE INDEX funnel_counts_by_revision ON funnel_counts (sale, width, revision);

CREATE INDEX funnel_counts_by_age ON funnel_counts (width, at_s);

-- sequence: of the engine's record that was counted last. at_s: its second.
CREATE TABLE funnel_engines (
  engine BIGINT NOT NULL PRIMARY KEY,
  sequence BIGINT NOT NULL,
  at_s BIGINT NOT NULL
);

CREATE INDEX funnel_engines_by_age ON funnel_engines (at_s);

-- How far the ledger's movements are counted: the next record of each partition.
CREATE TABLE funnel_movements (
  partition_id BIGINT NOT NULL PRIMARY KEY,
  generation BIGINT NOT NULL,
  log_offset BIGINT NOT NULL
);
