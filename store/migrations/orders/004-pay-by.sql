-- When an order is to be paid at the latest. Null in rows of programs that know no payment windows:
-- nobody told their buyers, and they expire by their age alone.
ALTER TABLE orders_{table} ADD COLUMN pay_by BIGINT NULL;
