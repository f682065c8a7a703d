-- At which domains tenants' shops have their pages, which may call from there. catalog keeps it as its tenants have it;
-- whoever answers pages reads it.
CREATE TABLE shop_domains (
  domain VARCHAR(191) NOT NULL PRIMARY KEY,
  tenant BIGINT NOT NULL
);
