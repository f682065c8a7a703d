-- Who pays, where the provider is told: the buyer's id in the shop's app (wechat_jsapi), or the address that the buyer asks from
-- (wechat_h5). With it an attempt is opened again as it was. Personal data; null for other methods.
ALTER TABLE attempts ADD COLUMN payer VARCHAR(128) NULL;
