-- What the last look before its opening found of a sale, and what is to be done with it later.

-- report: JSON of catalog/src/readiness.rs.
CREATE TABLE sale_reports (
  tenant BIGINT NOT NULL,
  sale BIGINT NOT NULL,
  checked_at BIGINT NOT NULL,
  report MEDIUMTEXT NOT NULL,
  PRIMARY KEY (tenant, sale)
);

CREATE INDEX sales_by_opening ON sales (opens_at);

-- asked: JSON of catalog/src/actions/bodies.rs. is_open: it is still to be done. next_at: when it
-- is tried next. attempts: those that failed. reason: of the last one. created_by: whose
-- permissions it needs.
CREATE TABLE sale_actions (
  tenant BIGINT NOT NULL,
  action BIGINT NOT NULL,
  sale BIGINT NOT NULL,
  asked MEDIUMTEXT NOT NULL,
  state VARCHAR(16) NOT NULL,
  is_open INT NOT NULL,
  at_ms BIGINT NOT NULL,
  next_at BIGINT NOT NULL,
  attempts BIGINT NOT NULL,
  reason MEDIUMTEXT NOT NULL,
  created_by VARCHAR(32) NOT NULL,
  version BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  ended_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, action)
);

CREATE INDEX sale_actions_due ON sale_actions (is_open, next_at);

CREATE INDEX sale_actions_of_sale ON sale_actions (tenant, sale, action);
