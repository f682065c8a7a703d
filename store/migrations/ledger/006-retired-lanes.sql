-- The epoch under which a lane was retired last (R14); null if it never was. The lane is retired while that is its epoch: a program that
-- does not know the column opens it by moving the epoch.
ALTER TABLE lanes ADD COLUMN retired_epoch BIGINT NULL;
