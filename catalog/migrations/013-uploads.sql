-- Inputs of jobs that are being received: chunks in job_chunks that no job has yet. The row goes in the transaction that
-- makes the job; what a process that died left is removed when it is old.
CREATE TABLE job_uploads (
  tenant BIGINT NOT NULL,
  job BIGINT NOT NULL,
  begun_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, job)
);

CREATE INDEX job_uploads_by_age ON job_uploads (begun_at);
