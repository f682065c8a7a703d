-- How the goods of an order reach its buyer, beside its row. The writer touches none of these tables. Times are epoch milliseconds.

-- Who gets the goods: by order, tenant and buyer, because it may be said before the order has its row. Shown only where the row
-- names the same tenant and buyer.
--   sealed      orders::life::recipient, as JSON, under the buyer's key
--   phone_tail  keyed digest of the last four digits
CREATE TABLE IF NOT EXISTS recipients (
  order_id BIGINT NOT NULL,
  tenant BIGINT NOT NULL,
  buyer BIGINT NOT NULL,
  sealed BLOB NOT NULL,
  phone_tail VARCHAR(32) NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (order_id, tenant, buyer)
);
CREATE INDEX recipients_by_phone_tail ON recipients (tenant, phone_tail, order_id);
CREATE INDEX recipients_by_buyer ON recipients (tenant, buyer);

-- The key of each buyer whose recipients are here, sealed under the deployment's. Erasure deletes it.
CREATE TABLE IF NOT EXISTS recipient_keys (
  tenant BIGINT NOT NULL,
  buyer BIGINT NOT NULL,
  sealed_key BLOB NOT NULL,
  PRIMARY KEY (tenant, buyer)
);

-- Orders that no carrier brings, from their payment on.
--   kind, state  orders::life::handover
--   tries        wrong pickup codes
--   next_at      when it is looked at next; null: there is nothing left to do
CREATE TABLE IF NOT EXISTS handovers (
  order_id BIGINT NOT NULL PRIMARY KEY,
  kind INT NOT NULL,
  state INT NOT NULL,
  tries INT NOT NULL,
  next_at BIGINT NULL
);
CREATE INDEX handovers_by_next ON handovers (next_at);

-- Orders that are completed by the clock. A row stands while the goods are with carrier or buyer.
CREATE TABLE IF NOT EXISTS completions (
  order_id BIGINT NOT NULL PRIMARY KEY,
  due_at BIGINT NOT NULL
);
CREATE INDEX completions_by_due ON completions (due_at);
-- What was sent before there were such rows: 15 days after the last that was done with it.
INSERT INTO completions (order_id, due_at)
  SELECT o.order_id, 1296000000 + COALESCE((SELECT MAX(t.happened_at) FROM timeline t WHERE t.order_id = o.order_id), o.reserved_at)
  FROM orders_{table} o WHERE o.status = 3 AND NOT EXISTS (SELECT 1 FROM completions c WHERE c.order_id = o.order_id);

-- Orders that their buyers called off before they had a row.
CREATE TABLE IF NOT EXISTS cancel_wishes (
  order_id BIGINT NOT NULL,
  tenant BIGINT NOT NULL,
  buyer BIGINT NOT NULL,
  next_at BIGINT NOT NULL,
  PRIMARY KEY (order_id, tenant, buyer)
);
CREATE INDEX cancel_wishes_by_next ON cancel_wishes (next_at);

-- The shop pays a part of an order: one voucher an order, taken with its first attempt that names it.
CREATE TABLE IF NOT EXISTS vouchers (
  order_id BIGINT NOT NULL PRIMARY KEY,
  voucher VARCHAR(64) NOT NULL,
  amount BIGINT NOT NULL,
  taken_at BIGINT NOT NULL
);
