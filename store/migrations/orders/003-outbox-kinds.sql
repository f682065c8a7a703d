-- Which record a row of the outbox is, and which topic it goes to. Null in rows of programs that
-- know only releases, which go to `orders`. (Such a program relays every row as a release: no other
-- kind is put in while one may still run.)
ALTER TABLE outbox ADD COLUMN kind VARCHAR(64) NULL;
ALTER TABLE outbox ADD COLUMN topic VARCHAR(64) NULL;
