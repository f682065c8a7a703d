-- No order row of the lane has a lower id (R5): fixed when its first epoch is committed, lowered by the commit of a lower one. Null
-- before the first opening, and for lanes that programs opened which know no such bound: their rows are looked for from the beginning.
ALTER TABLE lanes ADD COLUMN first_order BIGINT NULL;
