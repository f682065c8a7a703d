-- Exports of a tenant's orders, as jobs: a piece of the file and the place where the next one begins change together.
--   request_key  digest of the Idempotency-Key of who asked
--   filter       the parameters, as they were sent
--   before_id    orders below it are still to be written
--   pieces       how many there are, from 1
--   lease_until  until then its writer is believed to be at work
--   ended_at     0 until it is whole
CREATE TABLE IF NOT EXISTS order_exports (
  tenant BIGINT NOT NULL,
  export BIGINT NOT NULL,
  request_key VARCHAR(64) NOT NULL,
  filter VARCHAR(500) NOT NULL,
  before_id BIGINT NOT NULL,
  written BIGINT NOT NULL,
  bytes BIGINT NOT NULL,
  pieces BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  lease_until BIGINT NOT NULL,
  ended_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, export),
  CONSTRAINT order_export_asked UNIQUE (tenant, request_key)
);
CREATE INDEX order_exports_by_end ON order_exports (ended_at, lease_until);

CREATE TABLE IF NOT EXISTS order_export_pieces (
  tenant BIGINT NOT NULL,
  export BIGINT NOT NULL,
  piece BIGINT NOT NULL,
  content MEDIUMBLOB NOT NULL,
  PRIMARY KEY (tenant, export, piece)
);
