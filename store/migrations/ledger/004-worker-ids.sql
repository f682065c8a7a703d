-- The last millisecond, since 1970 by its holder's clock, that order ids of this number may carry. Programs of before leave 0,
-- whose ids never passed the end of their lease.
ALTER TABLE workers ADD COLUMN ids_until BIGINT NOT NULL DEFAULT 0;
