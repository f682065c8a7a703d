-- Units that are unshipped by an offer's settled sale: accepted, less those that orders gave back since. 0 for offers of sales that
-- were settled before this column: what their orders give back is not known.
ALTER TABLE inventory_allotments ADD COLUMN accepted BIGINT NOT NULL DEFAULT 0;
CREATE INDEX sales_owed ON sales (is_owed);
