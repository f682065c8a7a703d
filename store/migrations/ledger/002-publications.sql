-- What is published, decided here by compare-and-set; the topic `sales` is fed from it.

-- The newest version of each sale. payload: the sale as it travels on the topic.
CREATE TABLE sales (
  sale BIGINT NOT NULL PRIMARY KEY,
  tenant INT UNSIGNED NOT NULL,
  version INT UNSIGNED NOT NULL,
  payload MEDIUMBLOB NOT NULL
);

-- Who owns a lane, and an offer, for ever: whoever published it first.
CREATE TABLE sale_lanes (
  lane BIGINT NOT NULL PRIMARY KEY,
  sale BIGINT NOT NULL
);

CREATE TABLE sale_offers (
  offer BIGINT NOT NULL PRIMARY KEY,
  sale BIGINT NOT NULL,
  lane BIGINT NOT NULL
);

-- Sales whose version, or a newer one, the topic may lack.
CREATE TABLE sales_outbox (
  sale BIGINT NOT NULL PRIMARY KEY,
  version INT UNSIGNED NOT NULL
);

-- Versions that came past this database and contradict it, as they came, and why. For people.
CREATE TABLE parked_sales (
  sale BIGINT NOT NULL,
  version INT UNSIGNED NOT NULL,
  cause VARCHAR(2000) NOT NULL,
  payload MEDIUMBLOB NOT NULL,
  parked_at BIGINT NOT NULL,
  PRIMARY KEY (sale, version)
);

-- What older programs published belongs to whom the ledger has it for.
INSERT INTO sale_lanes (lane, sale) SELECT lane, sale FROM lanes;

INSERT INTO sale_offers (offer, sale, lane)
SELECT o.offer, l.sale, o.lane FROM offers o JOIN lanes l ON l.lane = o.lane;
