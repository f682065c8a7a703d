-- Offers of settled sales that sold stock: orders that are called off after that give units back in the ledger, and so to the
-- warehouse. sold: of the ledger, as far as the warehouse knows. next_at: when the ledger is asked next.
CREATE TABLE sale_sold (
  tenant BIGINT NOT NULL,
  sale BIGINT NOT NULL,
  offer BIGINT NOT NULL,
  lane BIGINT NOT NULL,
  warehouse BIGINT NOT NULL,
  sku BIGINT NOT NULL,
  sold BIGINT NOT NULL,
  settled_at BIGINT NOT NULL,
  next_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, sale, offer)
);
CREATE INDEX sale_sold_by_next ON sale_sold (next_at);
