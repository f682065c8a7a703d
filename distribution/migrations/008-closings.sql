-- Months of a shop that were looked at or closed. period: such as 202611, UTC. number: the subject
-- of its entries. outcome: version of the plan, shares and trace, JSON as closings.rs has it; it is
-- written anew until confirmed_at is set, and never again.
CREATE TABLE closings (
  tenant BIGINT NOT NULL,
  period BIGINT NOT NULL,
  number BIGINT NOT NULL,
  outcome MEDIUMTEXT NOT NULL,
  previewed_at BIGINT NOT NULL,
  confirmed_at BIGINT NULL,
  confirmed_by VARCHAR(32) NULL,
  PRIMARY KEY (tenant, period)
);
