-- Commissions. Money is in minor units, times are epoch milliseconds. What happened is only added:
-- entries, evaluations, order lines, published plans. History has from_ms and to_ms: what holds now
-- ends at 9223372036854775807.

-- Settings of a tenant, JSON as service/settings.rs has it; without a row the defaults hold.
CREATE TABLE settings (
  tenant BIGINT NOT NULL PRIMARY KEY,
  document MEDIUMTEXT NOT NULL,
  version BIGINT NOT NULL
);

-- Published plans, which never change: canonical JSON. worst: what a line may cost at most, ppm.
CREATE TABLE plans (
  tenant BIGINT NOT NULL,
  version BIGINT NOT NULL,
  name VARCHAR(64) NOT NULL,
  from_ms BIGINT NOT NULL,
  document MEDIUMTEXT NOT NULL,
  worst BIGINT NOT NULL,
  sign_off VARCHAR(191) NULL,
  published_at BIGINT NOT NULL,
  published_by VARCHAR(32) NOT NULL,
  PRIMARY KEY (tenant, version)
);

-- Whether the lines of a sale pay commissions, from this moment on; without a row they do not.
CREATE TABLE sale_switches (
  sale BIGINT NOT NULL,
  from_ms BIGINT NOT NULL,
  tenant BIGINT NOT NULL,
  is_on INT NOT NULL,
  who VARCHAR(32) NOT NULL,
  PRIMARY KEY (sale, from_ms)
);

-- Distributors, by their number as buyers. The row is what whoever takes from a balance locks.
CREATE TABLE people (
  tenant BIGINT NOT NULL,
  person BIGINT NOT NULL,
  joined_at BIGINT NOT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (tenant, person)
);

-- What somebody is, over time. state: applied, active, frozen, left. who: as in audit_log.
CREATE TABLE standings (
  tenant BIGINT NOT NULL,
  person BIGINT NOT NULL,
  from_ms BIGINT NOT NULL,
  to_ms BIGINT NOT NULL,
  state VARCHAR(16) NOT NULL,
  rank_name VARCHAR(64) NULL,
  kyc INT NOT NULL,
  who VARCHAR(32) NOT NULL,
  reason VARCHAR(191) NOT NULL,
  PRIMARY KEY (tenant, person, from_ms)
);

-- Who stands above whom, over time. relation: 1 referral, 2 org. The person need not be a
-- distributor, the parent is one.
CREATE TABLE relations (
  tenant BIGINT NOT NULL,
  relation INT NOT NULL,
  person BIGINT NOT NULL,
  from_ms BIGINT NOT NULL,
  to_ms BIGINT NOT NULL,
  parent BIGINT NOT NULL,
  who VARCHAR(32) NOT NULL,
  reason VARCHAR(191) NOT NULL,
  PRIMARY KEY (tenant, relation, person, from_ms)
);

CREATE INDEX relations_by_parent ON relations (tenant, relation, parent, person);

-- Whoever changes relations of a tenant locks its row: circles are looked for under that lock.
-- moved_at: from_ms of the last change, which the next one exceeds.
CREATE TABLE relation_heads (
  tenant BIGINT NOT NULL PRIMARY KEY,
  moved_at BIGINT NOT NULL
);

-- Who opened whose link.
CREATE TABLE touches (
  tenant BIGINT NOT NULL,
  visitor BIGINT NOT NULL,
  at_ms BIGINT NOT NULL,
  sharer BIGINT NOT NULL,
  PRIMARY KEY (tenant, visitor, at_ms, sharer)
);

-- Orders whose lines may pay, as their first event told.
CREATE TABLE order_lines (
  order_id BIGINT NOT NULL PRIMARY KEY,
  tenant BIGINT NOT NULL,
  buyer BIGINT NOT NULL,
  sale BIGINT NOT NULL,
  offer BIGINT NOT NULL,
  sku BIGINT NOT NULL,
  quantity BIGINT NOT NULL,
  net BIGINT NOT NULL,
  currency VARCHAR(3) NOT NULL,
  ordered_at BIGINT NOT NULL
);

-- One per event that changed what a line pays. frozen: all that the first one froze; empty later.
-- refunded: of the line, up to then. trace: why, JSON.
CREATE TABLE evaluations (
  order_id BIGINT NOT NULL,
  sequence INT NOT NULL,
  tenant BIGINT NOT NULL,
  plan_version BIGINT NOT NULL,
  refunded BIGINT NOT NULL,
  at_ms BIGINT NOT NULL,
  frozen MEDIUMTEXT NOT NULL,
  trace MEDIUMTEXT NOT NULL,
  PRIMARY KEY (order_id, sequence)
);

-- Orders that the buyer has received. due_at: when their payouts mature; NULL once they have.
CREATE TABLE receipts (
  order_id BIGINT NOT NULL PRIMARY KEY,
  tenant BIGINT NOT NULL,
  received_at BIGINT NOT NULL,
  matures_at BIGINT NOT NULL,
  due_at BIGINT NULL
);

CREATE INDEX receipts_by_due ON receipts (due_at);

-- The ledger: a row is an entry, a column an account; of the person where the account is one's.
-- kind and what subject, sequence, rule_name and person are then: 1 payout and 2 maturity (order,
-- sequence of the event, rule, beneficiary or 0), 3 withdrawal (its number, step), 4 adjustment
-- (its number). The primary key is what is posted once; a row that does not sum to zero is refused.
CREATE TABLE entries (
  tenant BIGINT NOT NULL,
  subject BIGINT NOT NULL,
  kind INT NOT NULL,
  sequence INT NOT NULL,
  rule_name VARCHAR(64) NOT NULL,
  person BIGINT NOT NULL,
  plan_name VARCHAR(64) NOT NULL,
  plan_version BIGINT NOT NULL,
  day_number INT NOT NULL,
  at_ms BIGINT NOT NULL,
  expense BIGINT NOT NULL,
  pending BIGINT NOT NULL,
  available BIGINT NOT NULL,
  withdrawing BIGINT NOT NULL,
  paid BIGINT NOT NULL,
  receivable BIGINT NOT NULL,
  fee BIGINT NOT NULL,
  tax BIGINT NOT NULL,
  breakage BIGINT NOT NULL,
  pool BIGINT NOT NULL,
  PRIMARY KEY (tenant, subject, kind, sequence, rule_name, person),
  CONSTRAINT entries_sum_to_zero CHECK (expense + pending + available + withdrawing + paid + receivable + fee + tax + breakage + pool = 0)
);

CREATE INDEX entries_by_day ON entries (tenant, day_number);

CREATE INDEX entries_by_person ON entries (tenant, person, at_ms);

-- Balances of people in parts, each a sum of some entries: a payout adds a part and locks nobody,
-- so that a star distributor is no hot row. Parts are folded into one now and then.
CREATE TABLE sub_accounts (
  tenant BIGINT NOT NULL,
  person BIGINT NOT NULL,
  part BIGINT NOT NULL,
  pending BIGINT NOT NULL,
  available BIGINT NOT NULL,
  withdrawing BIGINT NOT NULL,
  paid BIGINT NOT NULL,
  receivable BIGINT NOT NULL,
  PRIMARY KEY (tenant, person, part)
);

-- Closed days of the ledger (days since 1970), each with the hash over the day before and its
-- entries in the order of their key. entry_count: how many they are.
CREATE TABLE days (
  tenant BIGINT NOT NULL,
  day_number INT NOT NULL,
  entry_count BIGINT NOT NULL,
  hash BLOB NOT NULL,
  closed_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, day_number)
);

-- Events whose predecessor has not come: they wait for it.
CREATE TABLE waiting_events (
  order_id BIGINT NOT NULL,
  sequence INT NOT NULL,
  tenant BIGINT NOT NULL,
  payload BLOB NOT NULL,
  since_ms BIGINT NOT NULL,
  PRIMARY KEY (order_id, sequence)
);

-- Records and events that were put aside with their cause, as they came. tenant and order_id are 0
-- where the record could not be read; item: which event of its record.
CREATE TABLE parked_events (
  partition_id BIGINT NOT NULL,
  log_offset BIGINT NOT NULL,
  item INT NOT NULL,
  tenant BIGINT NOT NULL,
  order_id BIGINT NOT NULL,
  cause VARCHAR(191) NOT NULL,
  kind VARCHAR(64) NOT NULL,
  payload MEDIUMBLOB NOT NULL,
  parked_at BIGINT NOT NULL,
  PRIMARY KEY (partition_id, log_offset, item)
);

-- Withdrawals. approved: who did, separated by blanks. next_at: when the channel is asked next.
CREATE TABLE withdrawals (
  tenant BIGINT NOT NULL,
  withdrawal BIGINT NOT NULL,
  person BIGINT NOT NULL,
  amount BIGINT NOT NULL,
  state VARCHAR(16) NOT NULL,
  needs INT NOT NULL,
  approved VARCHAR(191) NOT NULL,
  asked_at BIGINT NOT NULL,
  next_at BIGINT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (tenant, withdrawal)
);

CREATE INDEX withdrawals_by_person ON withdrawals (tenant, person, asked_at);

CREATE INDEX withdrawals_by_turn ON withdrawals (next_at);

-- Requests that carried an Idempotency-Key, and their answers. actor: as in audit_log, or buyer:N.
-- request_key: the key's SHA-256. asked: SHA-256 of method, path and body.
CREATE TABLE requests (
  tenant BIGINT NOT NULL,
  actor VARCHAR(32) NOT NULL,
  request_key VARCHAR(64) NOT NULL,
  asked BLOB NOT NULL,
  status INT NOT NULL,
  reply MEDIUMBLOB NOT NULL,
  answered_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, actor, request_key)
);

CREATE INDEX requests_by_age ON requests (answered_at);

-- Every change by a person or key. actor: user:N, key:N. No personal data.
CREATE TABLE audit_log (
  tenant BIGINT NOT NULL,
  number BIGINT NOT NULL,
  at_ms BIGINT NOT NULL,
  actor VARCHAR(32) NOT NULL,
  action VARCHAR(64) NOT NULL,
  target VARCHAR(191) NOT NULL,
  before_json MEDIUMTEXT NOT NULL,
  after_json MEDIUMTEXT NOT NULL,
  PRIMARY KEY (tenant, number)
);
