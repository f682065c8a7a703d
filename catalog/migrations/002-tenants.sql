-- branding, plan_json: JSON documents whose schemas catalog/src/tenants.rs has. version: rises with
-- each change.
CREATE TABLE tenants (
  tenant BIGINT NOT NULL PRIMARY KEY,
  code VARCHAR(64) NOT NULL,
  name VARCHAR(200) NOT NULL,
  state VARCHAR(16) NOT NULL,
  plan VARCHAR(64) NOT NULL,
  branding MEDIUMTEXT NOT NULL,
  version BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  UNIQUE (code)
);
