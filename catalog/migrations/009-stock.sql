-- Warehouses and what lies in them. The words of the routes are `/v1/stock`; the tables are called
-- inventory_*, because the ledger has stock movements of its own. Every table begins with the
-- tenant, and what is of a level goes on with (sku, warehouse): no index begins with (tenant,
-- warehouse), which MariaDB would read whole where it is asked for a list of SKUs. Units are whole
-- and bounded (catalog/src/stock/level.rs).

-- state: open or closed. version: rises with each change, here and below.
CREATE TABLE inventory_warehouses (
  tenant BIGINT NOT NULL,
  warehouse BIGINT NOT NULL,
  code VARCHAR(64) NOT NULL,
  name VARCHAR(200) NOT NULL,
  state VARCHAR(16) NOT NULL,
  version BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, warehouse),
  UNIQUE (tenant, code)
);

-- Zones, and the bins in them. kind: zone or bin. zone: of a bin, its zone; of a zone, 0.
CREATE TABLE inventory_places (
  tenant BIGINT NOT NULL,
  place BIGINT NOT NULL,
  warehouse BIGINT NOT NULL,
  kind VARCHAR(16) NOT NULL,
  zone BIGINT NOT NULL,
  code VARCHAR(64) NOT NULL,
  version BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, place),
  UNIQUE (tenant, warehouse, kind, code)
);

-- expires_at: from then on its units are not available; NULL for never.
CREATE TABLE inventory_batches (
  tenant BIGINT NOT NULL,
  batch BIGINT NOT NULL,
  sku BIGINT NOT NULL,
  code VARCHAR(64) NOT NULL,
  expires_at BIGINT NULL,
  version BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, batch),
  UNIQUE (tenant, sku, code)
);

-- What there is of a SKU in a warehouse: the sum of its movements. placed: units of on_hand that
-- inventory_positions say more of. allotted: to offers. unshipped: accepted, still to be shipped.
-- threshold: NULL for none. is_low: available is below it, as of the last change. conflict: of the
-- open conflict, 0 for none.
CREATE TABLE inventory_levels (
  tenant BIGINT NOT NULL,
  sku BIGINT NOT NULL,
  warehouse BIGINT NOT NULL,
  on_hand BIGINT NOT NULL,
  placed BIGINT NOT NULL,
  allotted BIGINT NOT NULL,
  unshipped BIGINT NOT NULL,
  threshold BIGINT NULL,
  is_low INT NOT NULL,
  conflict BIGINT NOT NULL,
  version BIGINT NOT NULL,
  changed_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, sku, warehouse)
);

CREATE INDEX inventory_levels_low ON inventory_levels (tenant, is_low, sku, warehouse);

-- Units in a bin, of a batch, or both; 0 for none. Rows without units are removed.
CREATE TABLE inventory_positions (
  tenant BIGINT NOT NULL,
  sku BIGINT NOT NULL,
  warehouse BIGINT NOT NULL,
  bin BIGINT NOT NULL,
  batch BIGINT NOT NULL,
  units BIGINT NOT NULL,
  PRIMARY KEY (tenant, sku, warehouse, bin, batch)
);

CREATE INDEX inventory_positions_by_bin ON inventory_positions (tenant, bin);

-- Every change of a level, for ever. movement: rises by 1 within a tenant, in the order of the
-- commits. The changes, then what was there after them. actor: as in audit_log.
CREATE TABLE inventory_movements (
  tenant BIGINT NOT NULL,
  movement BIGINT NOT NULL,
  sku BIGINT NOT NULL,
  warehouse BIGINT NOT NULL,
  bin BIGINT NOT NULL,
  batch BIGINT NOT NULL,
  kind VARCHAR(16) NOT NULL,
  on_hand_change BIGINT NOT NULL,
  allotted_change BIGINT NOT NULL,
  unshipped_change BIGINT NOT NULL,
  on_hand BIGINT NOT NULL,
  allotted BIGINT NOT NULL,
  unshipped BIGINT NOT NULL,
  reference VARCHAR(191) NOT NULL,
  reason VARCHAR(200) NOT NULL,
  actor VARCHAR(32) NOT NULL,
  at_ms BIGINT NOT NULL,
  PRIMARY KEY (tenant, sku, warehouse, movement),
  UNIQUE (tenant, movement)
);

-- One row per tenant that ever had a movement. movements: the last one's number. runs: the last
-- reconciliation's. reconciled_day: the day (since 1970, UTC) on which the last nightly one began.
CREATE TABLE inventory_heads (
  tenant BIGINT NOT NULL PRIMARY KEY,
  movements BIGINT NOT NULL,
  runs BIGINT NOT NULL,
  reconciled_day BIGINT NOT NULL
);

-- What each offer has of a level's allotted units.
CREATE TABLE inventory_allotments (
  tenant BIGINT NOT NULL,
  sku BIGINT NOT NULL,
  warehouse BIGINT NOT NULL,
  offer BIGINT NOT NULL,
  units BIGINT NOT NULL,
  PRIMARY KEY (tenant, sku, warehouse, offer)
);

-- Allocations that were carried out, by the reference of who asked: the same one again changes
-- nothing. asked: SHA-256 of what was asked.
CREATE TABLE inventory_references (
  tenant BIGINT NOT NULL,
  reference VARCHAR(191) NOT NULL,
  asked BLOB NOT NULL,
  at_ms BIGINT NOT NULL,
  PRIMARY KEY (tenant, reference)
);

-- The newest version that each source of a feed gave of a level.
CREATE TABLE inventory_feed (
  tenant BIGINT NOT NULL,
  source VARCHAR(64) NOT NULL,
  sku BIGINT NOT NULL,
  warehouse BIGINT NOT NULL,
  version BIGINT NOT NULL,
  on_hand BIGINT NOT NULL,
  at_ms BIGINT NOT NULL,
  PRIMARY KEY (tenant, source, sku, warehouse)
);

-- Levels that a feed brought below what is promised. conflict: the number of the movement that did.
-- resolved_at: NULL while it is open.
CREATE TABLE inventory_conflicts (
  tenant BIGINT NOT NULL,
  conflict BIGINT NOT NULL,
  sku BIGINT NOT NULL,
  warehouse BIGINT NOT NULL,
  source VARCHAR(64) NOT NULL,
  on_hand BIGINT NOT NULL,
  promised BIGINT NOT NULL,
  opened_at BIGINT NOT NULL,
  resolved_at BIGINT NULL,
  PRIMARY KEY (tenant, conflict)
);

-- Reconciliations. The next piece begins after (after_sku, after_warehouse). started_by: as actor
-- in audit_log, or `nightly`. ended_at: NULL while it is under way.
CREATE TABLE inventory_runs (
  tenant BIGINT NOT NULL,
  run BIGINT NOT NULL,
  started_by VARCHAR(32) NOT NULL,
  started_at BIGINT NOT NULL,
  ended_at BIGINT NULL,
  after_sku BIGINT NOT NULL,
  after_warehouse BIGINT NOT NULL,
  checked BIGINT NOT NULL,
  found BIGINT NOT NULL,
  PRIMARY KEY (tenant, run)
);

CREATE INDEX inventory_runs_under_way ON inventory_runs (ended_at);

-- What a reconciliation found. what: the figure of the level. level_units, summed_units: as the
-- level has it, and as what it is made of says.
CREATE TABLE inventory_findings (
  tenant BIGINT NOT NULL,
  run BIGINT NOT NULL,
  finding BIGINT NOT NULL,
  sku BIGINT NOT NULL,
  warehouse BIGINT NOT NULL,
  what VARCHAR(16) NOT NULL,
  level_units BIGINT NOT NULL,
  summed_units BIGINT NOT NULL,
  PRIMARY KEY (tenant, run, finding)
);

-- Events on their way to the topic catalog-events: the members of a CloudEvent. sequence: rises by
-- 1 within a tenant, in the order of the commits. data: JSON, without personal data.
CREATE TABLE catalog_events (
  tenant BIGINT NOT NULL,
  sequence BIGINT NOT NULL,
  kind VARCHAR(64) NOT NULL,
  subject VARCHAR(191) NOT NULL,
  at_ms BIGINT NOT NULL,
  data MEDIUMTEXT NOT NULL,
  PRIMARY KEY (tenant, sequence)
);

-- The last event of each tenant.
CREATE TABLE catalog_event_heads (
  tenant BIGINT NOT NULL PRIMARY KEY,
  sequence BIGINT NOT NULL
);
