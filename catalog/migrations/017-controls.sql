-- What the operator set while the deployment runs, by name, and until when in milliseconds since 1970.
CREATE TABLE controls (
  name VARCHAR(64) NOT NULL PRIMARY KEY,
  value VARCHAR(512) NOT NULL,
  until_ms BIGINT NOT NULL
);
