-- Merchants' sales, as they want them. What is published is decided in the ledger's database; here
-- stands what shall be published next, and what is known to be.

-- sale: the number by which buyers know it. terms: JSON of catalog/src/sales/terms.rs. opens_at,
-- closes_at: of the terms, for lists and rounds. version: rises with each change. published: the
-- version that is known to be published, 0 for none. is_due: the terms are to be published. is_owed:
-- an allotment was lowered, and the warehouse waits for its units. is_settled: its lanes are
-- retired, and its stock is given back.
CREATE TABLE sales (
  tenant BIGINT NOT NULL,
  sale BIGINT NOT NULL,
  code VARCHAR(64) NOT NULL,
  is_template INT NOT NULL,
  terms MEDIUMTEXT NOT NULL,
  offers BIGINT NOT NULL,
  opens_at BIGINT NOT NULL,
  closes_at BIGINT NOT NULL,
  version BIGINT NOT NULL,
  published BIGINT NOT NULL,
  is_due INT NOT NULL,
  is_owed INT NOT NULL,
  is_settled INT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, sale),
  UNIQUE (tenant, code),
  UNIQUE (sale)
);

CREATE INDEX sales_to_publish ON sales (is_due);

CREATE INDEX sales_to_settle ON sales (is_settled, closes_at);

-- Each version of a sale, with who made it. action: what was done.
CREATE TABLE sale_versions (
  tenant BIGINT NOT NULL,
  sale BIGINT NOT NULL,
  version BIGINT NOT NULL,
  action VARCHAR(32) NOT NULL,
  actor VARCHAR(32) NOT NULL,
  terms MEDIUMTEXT NOT NULL,
  at_ms BIGINT NOT NULL,
  PRIMARY KEY (tenant, sale, version)
);
