-- A data key for each person whose data this deployment holds, sealed under the deployment's key.
-- kind: user or buyer. Erasure deletes the row: what was sealed with it is noise from then on.
CREATE TABLE person_keys (
  tenant BIGINT NOT NULL,
  kind VARCHAR(16) NOT NULL,
  person BIGINT NOT NULL,
  sealed_key BLOB NOT NULL,
  PRIMARY KEY (tenant, kind, person)
);
