-- The packed position of the last change of a lane's limit per buyer (R16); null if it never changed.
ALTER TABLE lanes ADD COLUMN limit_changed_at BIGINT NULL;
