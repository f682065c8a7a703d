-- What rules with a limit over a time have paid, minor units: of a person, or of all (person 0).
-- rule_name: the rule, or '' for the plan's own limit. window_kind and period: as in aggregates, by
-- the moment of the order. A row is locked by whoever adds to it.
CREATE TABLE limit_uses (
  tenant BIGINT NOT NULL,
  window_kind INT NOT NULL,
  period BIGINT NOT NULL,
  rule_name VARCHAR(64) NOT NULL,
  person BIGINT NOT NULL,
  paid BIGINT NOT NULL,
  PRIMARY KEY (tenant, window_kind, period, rule_name, person)
);
