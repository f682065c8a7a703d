-- What the teams of people bought, in parts: one for each partition of order-events, which only the
-- consumer of that partition writes, so that a person with a million below is no row that all wait
-- for. scope: how many levels below the person, 0 for all; 256: those whom the person brought.
-- Person 0 with scope 0: all of the shop. window_kind and period: as in aggregates.
CREATE TABLE team_parts (
  tenant BIGINT NOT NULL,
  window_kind INT NOT NULL,
  period BIGINT NOT NULL,
  scope INT NOT NULL,
  person BIGINT NOT NULL,
  part INT NOT NULL,
  sales BIGINT NOT NULL,
  orders BIGINT NOT NULL,
  PRIMARY KEY (tenant, window_kind, period, scope, person, part)
);
