-- What tenants may have. quotas: JSON whose members catalog/src/plans.rs has. A number that is null
-- or missing is no limit. version: rises with each change.
CREATE TABLE plans (
  code VARCHAR(64) NOT NULL PRIMARY KEY,
  quotas MEDIUMTEXT NOT NULL,
  version BIGINT NOT NULL
);

INSERT INTO plans (code, quotas, version) VALUES ('free',
  '{"requests_per_s":50,"requests_per_month":100000,"sales":5,"offers":50,"webhooks":2,"keys":5,"users":5,"buyer_tokens_per_s":50,"tenant_rate_per_s":200}',
  1);

INSERT INTO plans (code, quotas, version) VALUES ('standard',
  '{"requests_per_s":500,"requests_per_month":10000000,"sales":500,"offers":5000,"webhooks":20,"keys":50,"users":50,"buyer_tokens_per_s":2000,"tenant_rate_per_s":10000}',
  1);

INSERT INTO plans (code, quotas, version) VALUES ('unlimited', '{}', 1);

-- branding: JSON whose members catalog/src/branding.rs has. domain: the host name at which the shop
-- is found, NULL without one. version: rises with each change.
CREATE TABLE tenants (
  tenant BIGINT NOT NULL PRIMARY KEY,
  code VARCHAR(64) NOT NULL,
  name VARCHAR(200) NOT NULL,
  state VARCHAR(16) NOT NULL,
  plan VARCHAR(64) NOT NULL,
  branding MEDIUMTEXT NOT NULL,
  domain VARCHAR(191),
  version BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  UNIQUE (code),
  UNIQUE (domain)
);
