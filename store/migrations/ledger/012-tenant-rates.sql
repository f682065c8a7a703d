-- How many purchases a second the plan of a tenant allows, over all engines; a tenant whose plan sets no rate has no row.
-- catalog keeps it as the plans are; every engine reads it.
CREATE TABLE tenant_rates (
  tenant BIGINT NOT NULL PRIMARY KEY,
  rate_per_s BIGINT NOT NULL
);
