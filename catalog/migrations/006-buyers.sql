-- Whom a buyer's number stands for. subject: a keyed digest of the shop's own id, the phone number
-- or the hash, with its kind (catalog/src/buyers/subjects.rs), never clear text. Erasure replaces
-- it: the number stays, because orders carry it, and the same subject gets another one.
CREATE TABLE buyers (
  tenant BIGINT NOT NULL,
  subject VARCHAR(64) NOT NULL,
  kind VARCHAR(16) NOT NULL,
  buyer BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  erased_at BIGINT,
  PRIMARY KEY (tenant, subject),
  UNIQUE (tenant, buyer)
);

-- Personal data of buyers: JSON, sealed under the buyer's own key (person_keys). version rises with
-- each change.
CREATE TABLE buyer_profiles (
  tenant BIGINT NOT NULL,
  buyer BIGINT NOT NULL,
  sealed MEDIUMBLOB NOT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (tenant, buyer)
);

-- What a buyer was given of his data, sealed under his own key.
CREATE TABLE buyer_exports (
  tenant BIGINT NOT NULL,
  buyer BIGINT NOT NULL,
  number BIGINT NOT NULL,
  sealed MEDIUMBLOB NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, buyer, number)
);

-- By what a shop's pages log buyers in. sealed_secret: under the deployment's key.
CREATE TABLE login_providers (
  tenant BIGINT NOT NULL,
  kind VARCHAR(32) NOT NULL,
  app_id VARCHAR(64) NOT NULL,
  sealed_secret BLOB NOT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (tenant, kind)
);

-- The last code sent to a phone number. phone, code: keyed digests.
CREATE TABLE phone_codes (
  tenant BIGINT NOT NULL,
  phone VARCHAR(64) NOT NULL,
  code VARCHAR(64) NOT NULL,
  tries INT NOT NULL,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, phone)
);

CREATE INDEX phone_codes_by_expiry ON phone_codes (expires_at);

-- How often a code was asked for since a moment. subject: a keyed digest of a phone number or an
-- address, and of what is counted.
CREATE TABLE login_rates (
  tenant BIGINT NOT NULL,
  subject VARCHAR(64) NOT NULL,
  begun_at BIGINT NOT NULL,
  asked INT NOT NULL,
  PRIMARY KEY (tenant, subject)
);

CREATE INDEX login_rates_by_age ON login_rates (begun_at);
