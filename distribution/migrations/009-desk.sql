-- Corrections of balances by people of the shop. amount: minor units, negative takes. state: asked,
-- posted, declined. approved: who did, separated by blanks. asked_by: as in audit_log.
CREATE TABLE adjustments (
  tenant BIGINT NOT NULL,
  adjustment BIGINT NOT NULL,
  person BIGINT NOT NULL,
  amount BIGINT NOT NULL,
  reason VARCHAR(191) NOT NULL,
  state VARCHAR(16) NOT NULL,
  needs INT NOT NULL,
  approved VARCHAR(191) NOT NULL,
  asked_by VARCHAR(32) NOT NULL,
  asked_at BIGINT NOT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (tenant, adjustment)
);

-- What the shop holds: the withdrawals of a person (order_id is 0), or the payouts of an order
-- (person is 0), until released_at. Due payouts and approved withdrawals that are held have
-- 9223372036854775807 in due_at and next_at; those of a shop whose switch is off that less its
-- tenant. Both are put back once nothing stops them.
CREATE TABLE holds (
  tenant BIGINT NOT NULL,
  hold BIGINT NOT NULL,
  person BIGINT NOT NULL,
  order_id BIGINT NOT NULL,
  reason VARCHAR(191) NOT NULL,
  held_at BIGINT NOT NULL,
  held_by VARCHAR(32) NOT NULL,
  released_at BIGINT NULL,
  released_by VARCHAR(32) NULL,
  released_why VARCHAR(191) NULL,
  PRIMARY KEY (tenant, hold)
);

CREATE INDEX holds_by_person ON holds (tenant, person, released_at);

CREATE INDEX holds_by_order ON holds (order_id, released_at);

-- The switch of a shop; the last row holds, and for the question whether an order pays the last one
-- from before it. Without a row all is on.
CREATE TABLE shop_switches (
  tenant BIGINT NOT NULL,
  from_ms BIGINT NOT NULL,
  earning INT NOT NULL,
  withdrawing INT NOT NULL,
  who VARCHAR(32) NOT NULL,
  reason VARCHAR(191) NOT NULL,
  PRIMARY KEY (tenant, from_ms)
);

-- People who have left and asked that what is known of them is destroyed. done_at: when it was.
CREATE TABLE erasures (
  tenant BIGINT NOT NULL,
  person BIGINT NOT NULL,
  asked_at BIGINT NOT NULL,
  done_at BIGINT NULL,
  PRIMARY KEY (tenant, person)
);

CREATE INDEX erasures_by_done ON erasures (done_at);

-- Up to which order the watch has looked. One row.
CREATE TABLE risk_walks (
  walk INT NOT NULL PRIMARY KEY,
  position BIGINT NOT NULL
);

-- Distributors who bought, and whom that paid: both directions of a pair are a ring.
CREATE TABLE risk_pairs (
  tenant BIGINT NOT NULL,
  buyer BIGINT NOT NULL,
  payee BIGINT NOT NULL,
  PRIMARY KEY (tenant, buyer, payee)
);

-- What the watch found, each once. kind: self_purchase (person), ring (person, other), levels (other:
-- how many), people (other: how many). times: orders that showed it, order_id the last of them.
-- decision: dismissed, held.
CREATE TABLE risks (
  tenant BIGINT NOT NULL,
  kind VARCHAR(32) NOT NULL,
  person BIGINT NOT NULL,
  other BIGINT NOT NULL,
  risk BIGINT NOT NULL,
  order_id BIGINT NOT NULL,
  times BIGINT NOT NULL,
  found_at BIGINT NOT NULL,
  last_at BIGINT NOT NULL,
  decision VARCHAR(16) NULL,
  decided_at BIGINT NULL,
  decided_by VARCHAR(32) NULL,
  reason VARCHAR(191) NULL,
  PRIMARY KEY (tenant, kind, person, other)
);

CREATE INDEX risks_by_number ON risks (tenant, risk);
