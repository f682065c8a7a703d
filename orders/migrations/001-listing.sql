-- Lists of orders, beside the databases that a sale writes to: order ids in blocks, newest first. What an order is stands in its row
-- alone; a block names it, and may name it again. Portable SQL, times and ids as everywhere.

-- Up to 256 orders of one offer, minted within ten seconds.
--   newest, oldest  the first and the last of its ids
--   source, place   where it comes from, which makes the row one of its own: a partition and the offset of a record of `order-events`;
--                   or -1 - the number of an order table and the id after which a walk read it
--   orders          the ids, 8 bytes each, big endian, falling
CREATE TABLE IF NOT EXISTS order_blocks (
  tenant BIGINT NOT NULL,
  newest BIGINT NOT NULL,
  source INT NOT NULL,
  place BIGINT NOT NULL,
  sale BIGINT NOT NULL,
  offer BIGINT NOT NULL,
  oldest BIGINT NOT NULL,
  orders BLOB NOT NULL,
  PRIMARY KEY (tenant, newest, source, place)
);
CREATE INDEX order_blocks_by_sale ON order_blocks (tenant, sale, newest, source, place);
CREATE INDEX order_blocks_by_offer ON order_blocks (tenant, offer, newest, source, place);

-- Rows that were there before the topic was followed are read once, table by table.
--   after_id  orders up to this one are in blocks; until_id: those from this one on are told by the topic
CREATE TABLE IF NOT EXISTS order_walks (
  home INT NOT NULL PRIMARY KEY,
  after_id BIGINT NOT NULL,
  until_id BIGINT NOT NULL
);
