-- Work that outlasts its request. kind, state: as catalog/src/jobs.rs has them. options: what was
-- asked, JSON of the kind. position: where the next piece begins, as the kind writes it; it moves
-- in the transaction of each piece. done, total: how far, in what the kind counts. flaws: all that
-- were found, of which job_errors has the first. runner, lease_until: who works on it and how long
-- others leave it alone; a piece is committed by the runner that the row names and nobody else.
CREATE TABLE jobs (
  tenant BIGINT NOT NULL,
  job BIGINT NOT NULL,
  kind VARCHAR(64) NOT NULL,
  state VARCHAR(16) NOT NULL,
  is_open INT NOT NULL,
  options MEDIUMTEXT NOT NULL,
  position VARCHAR(191) NOT NULL,
  done BIGINT NOT NULL,
  total BIGINT NOT NULL,
  made BIGINT NOT NULL,
  changed BIGINT NOT NULL,
  unchanged BIGINT NOT NULL,
  failed BIGINT NOT NULL,
  flaws BIGINT NOT NULL,
  input_bytes BIGINT NOT NULL,
  result_bytes BIGINT NOT NULL,
  result_chunks BIGINT NOT NULL,
  reason VARCHAR(500) NOT NULL,
  created_by VARCHAR(32) NOT NULL,
  trace VARCHAR(32) NOT NULL,
  address VARCHAR(45) NOT NULL,
  created_at BIGINT NOT NULL,
  started_at BIGINT,
  ended_at BIGINT,
  runner VARCHAR(32) NOT NULL,
  lease_until BIGINT NOT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (tenant, job)
);

CREATE INDEX jobs_by_turn ON jobs (is_open, tenant, job);

CREATE INDEX jobs_by_end ON jobs (is_open, ended_at);

-- What came in (part: input) in pieces of 1 MiB, and what goes out (part: result) in pieces of at
-- most as much.
CREATE TABLE job_chunks (
  tenant BIGINT NOT NULL,
  job BIGINT NOT NULL,
  part VARCHAR(8) NOT NULL,
  chunk BIGINT NOT NULL,
  content MEDIUMBLOB NOT NULL,
  PRIMARY KEY (tenant, job, part, chunk)
);

-- What is wrong in a line of the input: the first flaws of a job.
CREATE TABLE job_errors (
  tenant BIGINT NOT NULL,
  job BIGINT NOT NULL,
  entry BIGINT NOT NULL,
  line BIGINT NOT NULL,
  field VARCHAR(191) NOT NULL,
  message VARCHAR(500) NOT NULL,
  PRIMARY KEY (tenant, job, entry)
);
