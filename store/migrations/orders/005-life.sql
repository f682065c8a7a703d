-- What becomes of an order after it is decided, beside its row, so that one transaction holds a step with its outbox row. The
-- writer touches none of these tables. Times are epoch milliseconds, amounts minor units.

-- Tries to pay. Stored before the provider is asked, under the number that it is asked with: order and attempt.
--   state        orders::payment::attempt
--   opened       what the buyer's device does next, as it was answered; null until the provider opened it
--   expires_at   the provider's end; close_from: ours, from which on it is closed
--   after_close  the status that the order takes once the attempt is closed; null: none
--   next_at      when it is looked at next; null: there is nothing left to do
CREATE TABLE IF NOT EXISTS attempts (
  order_id BIGINT NOT NULL,
  attempt INT NOT NULL,
  tenant BIGINT NOT NULL,
  provider VARCHAR(16) NOT NULL,
  number VARCHAR(32) NOT NULL,
  method VARCHAR(32) NOT NULL,
  state INT NOT NULL,
  amount BIGINT NOT NULL,
  currency VARCHAR(3) NOT NULL,
  opened MEDIUMTEXT NULL,
  provider_number VARCHAR(64) NULL,
  expires_at BIGINT NOT NULL,
  close_from BIGINT NOT NULL,
  after_close INT NULL,
  paid_at BIGINT NULL,
  next_at BIGINT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (order_id, attempt)
);
CREATE INDEX attempts_by_next ON attempts (next_at);
CREATE INDEX attempts_by_provider_number ON attempts (provider_number);

-- Money on its way back. Stored before the provider is asked, under the number that it is asked with, again and again.
--   state        orders::payment::pacer::Stage
--   request_key  digest of the Idempotency-Key of who asked; null where nobody did
CREATE TABLE IF NOT EXISTS refunds (
  order_id BIGINT NOT NULL,
  refund INT NOT NULL,
  tenant BIGINT NOT NULL,
  attempt INT NOT NULL,
  number VARCHAR(32) NOT NULL,
  state INT NOT NULL,
  amount BIGINT NOT NULL,
  currency VARCHAR(3) NOT NULL,
  reason VARCHAR(200) NOT NULL,
  request_key VARCHAR(64) NULL,
  provider_number VARCHAR(64) NULL,
  next_at BIGINT NULL,
  created_at BIGINT NOT NULL,
  done_at BIGINT NULL,
  PRIMARY KEY (order_id, refund),
  CONSTRAINT refund_asked UNIQUE (order_id, request_key)
);
CREATE INDEX refunds_by_next ON refunds (next_at);

-- Notices that were taken, so that a repetition is known.
CREATE TABLE IF NOT EXISTS notices (
  provider VARCHAR(16) NOT NULL,
  notice VARCHAR(128) NOT NULL,
  order_id BIGINT NOT NULL,
  came_to VARCHAR(16) NOT NULL,
  received_at BIGINT NOT NULL,
  PRIMARY KEY (provider, notice)
);

-- What was done with an order, by whom and why, in the transaction that did it. What the row and the log say by themselves
-- (created, expired by the clock without an attempt, released) is not repeated here.
--   who     buyer, user:N, key:N, operator, clock, or the name of a provider
--   number  ours or the provider's, of the attempt or refund that it is about
CREATE TABLE IF NOT EXISTS timeline (
  order_id BIGINT NOT NULL,
  entry INT NOT NULL,
  happened_at BIGINT NOT NULL,
  who VARCHAR(64) NOT NULL,
  what VARCHAR(32) NOT NULL,
  number VARCHAR(64) NULL,
  amount BIGINT NULL,
  why VARCHAR(200) NULL,
  PRIMARY KEY (order_id, entry)
);
