-- A tenant's people. profile: e-mail address and name as JSON, sealed under the person's key;
-- email_digest: what the address is found by (catalog/src/vault.rs). password: a PHC string, empty
-- until the person sets it. totp: 0 none, 1 not confirmed yet, 2 asked for at login; totp_secret:
-- sealed; totp_step: the last 30 seconds whose code was used.
CREATE TABLE users (
  tenant BIGINT NOT NULL,
  person BIGINT NOT NULL,
  email_digest VARCHAR(64) NOT NULL,
  profile BLOB NOT NULL,
  state VARCHAR(16) NOT NULL,
  password VARCHAR(191) NOT NULL,
  totp INT NOT NULL,
  totp_secret BLOB NOT NULL,
  totp_step BIGINT NOT NULL,
  version BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, person),
  UNIQUE (tenant, email_digest)
);

-- Which roles a person holds: built-in ones (catalog/src/people/roles.rs) and those of the tenant.
CREATE TABLE user_roles (
  tenant BIGINT NOT NULL,
  person BIGINT NOT NULL,
  role_code VARCHAR(64) NOT NULL,
  PRIMARY KEY (tenant, person, role_code)
);

CREATE INDEX user_roles_by_role ON user_roles (tenant, role_code);

-- A tenant's own roles. scope: names of permissions, separated by blanks.
CREATE TABLE roles (
  tenant BIGINT NOT NULL,
  code VARCHAR(64) NOT NULL,
  name VARCHAR(200) NOT NULL,
  scope MEDIUMTEXT NOT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (tenant, code)
);

-- Tokens by which a person sets a password once. digest: SHA-256 of the token, in hexadecimal.
CREATE TABLE invitations (
  digest VARCHAR(64) NOT NULL PRIMARY KEY,
  tenant BIGINT NOT NULL,
  person BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);

CREATE INDEX invitations_by_person ON invitations (tenant, person);

CREATE INDEX invitations_by_end ON invitations (expires_at);

-- One-use codes instead of a second factor; digest: keyed, as catalog/src/vault.rs makes it.
CREATE TABLE recovery_codes (
  tenant BIGINT NOT NULL,
  person BIGINT NOT NULL,
  digest VARCHAR(64) NOT NULL,
  PRIMARY KEY (tenant, person, digest)
);

-- Who is signed in. A session that ended has no row. Digests are SHA-256: of what all refresh
-- tokens of the session share, of the newest one, and of the one before it.
CREATE TABLE sessions (
  tenant BIGINT NOT NULL,
  session_number BIGINT NOT NULL,
  person BIGINT NOT NULL,
  family_digest BLOB NOT NULL,
  refresh_digest BLOB NOT NULL,
  earlier_digest BLOB NOT NULL,
  refreshed_at BIGINT NOT NULL,
  started_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  address VARCHAR(45) NOT NULL,
  PRIMARY KEY (tenant, session_number)
);

CREATE INDEX sessions_by_person ON sessions (tenant, person);

CREATE INDEX sessions_by_end ON sessions (expires_at);

-- Failed logins of an account, whether there is such an account or not: what is refused must not
-- tell. tenant: 0 for the code of no tenant.
CREATE TABLE login_failures (
  tenant BIGINT NOT NULL,
  email_digest VARCHAR(64) NOT NULL,
  failures INT NOT NULL,
  failed_at BIGINT NOT NULL,
  locked_until BIGINT NOT NULL,
  PRIMARY KEY (tenant, email_digest)
);

CREATE INDEX login_failures_by_age ON login_failures (failed_at);

-- Keys that sign people's tokens; the newest that is published long enough signs. private_key:
-- sealed under the deployment's key; public_key: a point of P-256, uncompressed.
CREATE TABLE signing_keys (
  key_number BIGINT NOT NULL PRIMARY KEY,
  private_key BLOB NOT NULL,
  public_key BLOB NOT NULL,
  created_at BIGINT NOT NULL
);
