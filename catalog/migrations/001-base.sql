-- What every part of the catalog stands on. Texts that are searched by equality have at most 191
-- characters, so that an index holds them.

-- Numbers that this service gives, by kind: the next one. They are taken in blocks; a block that
-- was not used up when its process ended leaves a gap.
CREATE TABLE numbers (
  kind VARCHAR(32) NOT NULL PRIMARY KEY,
  next_number BIGINT NOT NULL
);

-- Requests that carried an Idempotency-Key, and their answers: the row is written in the
-- transaction of what the request did. actor: as in audit_log. asked: SHA-256 of method, path and
-- body. reply: the body of the answer, without secrets.
CREATE TABLE requests (
  tenant BIGINT NOT NULL,
  actor VARCHAR(32) NOT NULL,
  request_key VARCHAR(255) NOT NULL,
  asked BLOB NOT NULL,
  status INT NOT NULL,
  location VARCHAR(255) NOT NULL,
  reply MEDIUMBLOB NOT NULL,
  answered_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, actor, request_key)
);

CREATE INDEX requests_by_age ON requests (answered_at);

-- Every change by a person or key, for ever, one chain per tenant. actor: user:N, key:N or
-- operator. before_json, after_json: what changed, empty where there was nothing. hash: SHA-256 of
-- the hash before it and of this row, as catalog/src/audit.rs writes it.
CREATE TABLE audit_log (
  tenant BIGINT NOT NULL,
  sequence BIGINT NOT NULL,
  at_ms BIGINT NOT NULL,
  actor VARCHAR(32) NOT NULL,
  action VARCHAR(64) NOT NULL,
  target VARCHAR(191) NOT NULL,
  before_json MEDIUMTEXT NOT NULL,
  after_json MEDIUMTEXT NOT NULL,
  trace VARCHAR(32) NOT NULL,
  address VARCHAR(45) NOT NULL,
  hash BLOB NOT NULL,
  PRIMARY KEY (tenant, sequence)
);

-- The end of each chain.
CREATE TABLE audit_heads (
  tenant BIGINT NOT NULL PRIMARY KEY,
  sequence BIGINT NOT NULL,
  hash BLOB NOT NULL
);
