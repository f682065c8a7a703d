-- When the version of a sale was written, by this database's clock, for who follows what changes. Null where a program of before wrote it.
ALTER TABLE sales ADD COLUMN changed_at BIGINT NULL;

CREATE INDEX sales_by_change ON sales (changed_at);
