-- API keys. secret_hash: SHA-256 of the secret, which has 256 random bits, so that nothing slower
-- is needed. scope: permissions, separated by blanks. created_by: as an actor in audit_log.
CREATE TABLE api_keys (
  key_number BIGINT NOT NULL PRIMARY KEY,
  tenant BIGINT NOT NULL,
  name VARCHAR(100) NOT NULL,
  scope VARCHAR(2000) NOT NULL,
  secret_hash BLOB NOT NULL,
  created_by VARCHAR(32) NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT,
  last_used_at BIGINT
);

CREATE INDEX api_keys_of_tenant ON api_keys (tenant, key_number);

-- Requests by month (202611, UTC) and by who made them, as an actor in audit_log.
CREATE TABLE request_usage (
  tenant BIGINT NOT NULL,
  month INT NOT NULL,
  actor VARCHAR(32) NOT NULL,
  used BIGINT NOT NULL,
  PRIMARY KEY (tenant, month, actor)
);

-- Feature flags. rules: JSON whose members catalog/src/flags.rs has.
CREATE TABLE flags (
  code VARCHAR(64) NOT NULL PRIMARY KEY,
  description VARCHAR(500) NOT NULL,
  rules MEDIUMTEXT NOT NULL,
  version BIGINT NOT NULL
);

-- What was done to one thing, and by one actor, is found without reading the whole log.
CREATE INDEX audit_by_target ON audit_log (tenant, target, sequence);

CREATE INDEX audit_by_actor ON audit_log (tenant, actor, sequence);
