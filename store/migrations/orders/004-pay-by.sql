-- When an order is to be paid at the latest. Null in rows of programs that know no payment windows:
-- nobody told their buyers, and they expire by their age alone.
ALTER TABLE orders_{table} ADD COLUMN pay_by BIGINT NULL;
-- Whoever expires looks for unpaid orders past that time, and for nothing else: those of a sale lie
-- together, in the order of their times, and one that is paid leaves them.
CREATE INDEX orders_{table}_by_pay_by ON orders_{table} (status, pay_by);
