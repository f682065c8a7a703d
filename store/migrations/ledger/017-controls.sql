-- What the operator set while the deployment runs, by name; what is not set has no row. catalog keeps it as its own
-- table has it; every program reads it.
CREATE TABLE controls (
  name VARCHAR(64) NOT NULL PRIMARY KEY,
  value VARCHAR(512) NOT NULL
);
