-- attributes, images, fields: JSON, as catalog/src/products.rs has them; fields are checked by the
-- tenant's schema. code: the merchant's own, which stays. version: rises with each change.
CREATE TABLE products (
  tenant BIGINT NOT NULL,
  product BIGINT NOT NULL,
  code VARCHAR(64) NOT NULL,
  title VARCHAR(200) NOT NULL,
  description MEDIUMTEXT NOT NULL,
  state VARCHAR(16) NOT NULL,
  attributes MEDIUMTEXT NOT NULL,
  images MEDIUMTEXT NOT NULL,
  fields MEDIUMTEXT NOT NULL,
  version BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, product),
  UNIQUE (tenant, code)
);

-- What is sold. price: in minor units of currency. barcode: empty where there is none. weight_g: 0
-- where it is not known. used: 1 once it was stocked or sold; it is never deleted from then on.
CREATE TABLE skus (
  tenant BIGINT NOT NULL,
  sku BIGINT NOT NULL,
  product BIGINT NOT NULL,
  code VARCHAR(64) NOT NULL,
  price BIGINT NOT NULL,
  currency VARCHAR(3) NOT NULL,
  barcode VARCHAR(64) NOT NULL,
  weight_g BIGINT NOT NULL,
  state VARCHAR(16) NOT NULL,
  attributes MEDIUMTEXT NOT NULL,
  images MEDIUMTEXT NOT NULL,
  used INT NOT NULL,
  version BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, sku),
  UNIQUE (tenant, code)
);

CREATE INDEX skus_by_product ON skus (tenant, product, sku);

-- The schema of the custom fields of a tenant's products.
CREATE TABLE product_fields (
  tenant BIGINT NOT NULL PRIMARY KEY,
  schema_json MEDIUMTEXT NOT NULL,
  version BIGINT NOT NULL
);

-- Images by the SHA-256 of their bytes, in hexadecimal digits; they belong to no tenant.
CREATE TABLE images (
  hash VARCHAR(64) NOT NULL PRIMARY KEY,
  media VARCHAR(32) NOT NULL,
  content MEDIUMBLOB NOT NULL
);

-- Who uploaded which.
CREATE TABLE tenant_images (
  tenant BIGINT NOT NULL,
  hash VARCHAR(64) NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, hash)
);
