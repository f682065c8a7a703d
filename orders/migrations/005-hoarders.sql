-- What a shop does about buyers who let orders expire. How often one did is counted in the order rows themselves.

-- One rule a tenant.
--   consequence  orders::life::hoarders
--   amount       minutes to pay, or units; 0 where the consequence has none
CREATE TABLE IF NOT EXISTS hoarder_rules (
  tenant BIGINT NOT NULL PRIMARY KEY,
  expiries INT NOT NULL,
  within_days INT NOT NULL,
  consequence VARCHAR(16) NOT NULL,
  amount INT NOT NULL
);

-- Orders of tenants with a rule, noted in the transaction that lists them, until somebody looked whose they are.
--   source, place, part  a partition, the offset of the first record that was taken with them, and a number: each row is one of its own
--   orders               order and buyer, 8 bytes each, big endian
--   next_at              when somebody looks, or looks again
CREATE TABLE IF NOT EXISTS hoarder_looks (
  source INT NOT NULL,
  place BIGINT NOT NULL,
  part INT NOT NULL,
  tenant BIGINT NOT NULL,
  orders MEDIUMBLOB NOT NULL,
  next_at BIGINT NOT NULL,
  PRIMARY KEY (source, place, part)
);
CREATE INDEX hoarder_looks_by_next ON hoarder_looks (next_at);
