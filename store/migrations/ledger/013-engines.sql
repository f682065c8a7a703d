-- What each engine tells while it holds its number: when it told last, by this database's clock, and what its own clock showed.
-- Null where a program of before holds the number, which tells nothing.
ALTER TABLE workers ADD COLUMN told_at BIGINT NULL;

ALTER TABLE workers ADD COLUMN clock_ms BIGINT NULL;

-- Which version of each sale an engine sells by. Written anew by whoever takes the number.
CREATE TABLE engine_sales (
  engine INT NOT NULL,
  sale BIGINT NOT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (engine, sale)
);
