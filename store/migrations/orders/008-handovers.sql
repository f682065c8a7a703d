-- Of the first shard alone: what belongs to an offer, and so to no order's shard.

-- How the goods of an offer reach their buyers, where no carrier brings them. An offer without a row is sent.
--   kind         orders::life::handover; kind_before: until `from_at`, so that every process knows a change before it counts
CREATE TABLE IF NOT EXISTS offer_handovers (
  tenant BIGINT NOT NULL,
  offer BIGINT NOT NULL,
  kind INT NOT NULL,
  kind_before INT NOT NULL,
  from_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, offer)
);

-- Codes that stand for a unit each. Once an order has one, no other gets it.
--   digest    keyed, of the code: one is imported once
--   sealed    the code, under the deployment's key
--   order_id  0 while nobody has it
CREATE TABLE IF NOT EXISTS redeem_codes (
  tenant BIGINT NOT NULL,
  offer BIGINT NOT NULL,
  number BIGINT NOT NULL,
  digest VARCHAR(64) NOT NULL,
  sealed BLOB NOT NULL,
  order_id BIGINT NOT NULL,
  PRIMARY KEY (tenant, offer, number),
  CONSTRAINT redeem_code UNIQUE (tenant, offer, digest)
);
CREATE INDEX redeem_codes_by_order ON redeem_codes (tenant, offer, order_id, number);

-- Orders whose codes count no more: they get none, and those that they had are nobody else's.
CREATE TABLE IF NOT EXISTS code_withdrawals (
  order_id BIGINT NOT NULL PRIMARY KEY
);
