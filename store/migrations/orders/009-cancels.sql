-- Of the first shard alone. Orders that are cancelled in bulk, as jobs: counts and the place where the next piece begins change together.
--   request_key   digest of the Idempotency-Key of who asked
--   what          digest of what was asked, so that a key names one job
--   sale, offer   0 where the job is not of one; orders: the ids of a list, 8 bytes each, big endian, falling
--   until_id      orders below it; before_id: those below it are still to be looked at in this pass
--   next_at       when its next piece begins
--   ended_at      0 until nothing is left to do
CREATE TABLE IF NOT EXISTS order_cancels (
  tenant BIGINT NOT NULL,
  job BIGINT NOT NULL,
  request_key VARCHAR(64) NOT NULL,
  what VARCHAR(64) NOT NULL,
  sale BIGINT NOT NULL,
  offer BIGINT NOT NULL,
  orders MEDIUMBLOB NOT NULL,
  who VARCHAR(64) NOT NULL,
  reason VARCHAR(200) NOT NULL,
  until_id BIGINT NOT NULL,
  before_id BIGINT NOT NULL,
  pass_at BIGINT NOT NULL,
  cancelled BIGINT NOT NULL,
  closing BIGINT NOT NULL,
  refunding BIGINT NOT NULL,
  refunded BIGINT NOT NULL,
  untouched BIGINT NOT NULL,
  shown VARCHAR(200) NOT NULL,
  created_at BIGINT NOT NULL,
  next_at BIGINT NOT NULL,
  ended_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, job),
  CONSTRAINT order_cancel_asked UNIQUE (tenant, request_key)
);
CREATE INDEX order_cancels_by_end ON order_cancels (ended_at, next_at);
