-- What the own customers of a person bought: net money of lines and their number, by the moment of
-- the order. window_kind: 1 a day (period: days since 1970), 2 a month (202611), 3 all (0); UTC. A
-- row is locked by whoever adds to it, so that a tier is never passed by two lines at once.
CREATE TABLE aggregates (
  tenant BIGINT NOT NULL,
  window_kind INT NOT NULL,
  period BIGINT NOT NULL,
  person BIGINT NOT NULL,
  sales BIGINT NOT NULL,
  orders BIGINT NOT NULL,
  PRIMARY KEY (tenant, window_kind, period, person)
);
