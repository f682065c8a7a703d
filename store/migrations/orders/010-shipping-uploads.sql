-- Payments whose money waits until the provider is told that the goods were sent. A row stands until it is told.
--   paid_at  when the provider's time begins
--   next_at  when it is told, or told again; null: nothing was sent yet
CREATE TABLE IF NOT EXISTS shipping_uploads (
  order_id BIGINT NOT NULL PRIMARY KEY,
  attempt INT NOT NULL,
  tenant BIGINT NOT NULL,
  paid_at BIGINT NOT NULL,
  next_at BIGINT NULL
);
CREATE INDEX shipping_uploads_by_next ON shipping_uploads (next_at);
CREATE INDEX shipping_uploads_by_payment ON shipping_uploads (paid_at);
