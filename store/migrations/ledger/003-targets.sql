-- Units that the sale wants an offer to have (R9); null while that is its allotment. Programs that know no targets leave it so.
ALTER TABLE offers ADD COLUMN target BIGINT NULL;
