//! Whether a sale is ready, with two engines: what is wrong with an engine, or with the stock
//! server, is red in the merchant's report for as long as it is wrong.

use domain::{
    id::{Epoch, LaneId, OfferId, SaleId},
    stock::LaneMode,
};
use serde_json::json;
use store::{
    publications::Published,
    shards::open_ledger,
    sql::{
        Server as _, Sql as _,
        mysql::{MySqlServer, Settings},
    },
    stock::{
        LaneKeeping as _,
        redis::{RedisKeeping, RedisSettings},
    },
};
use verify::{
    merchants::{Merchants, Seller},
    services::Services,
};

use super::*;

/// How long a report may take to show what is.
const PATIENCE: Duration = Duration::from_secs(90);

/// A sale that opens in a far year, and its merchant.
struct Watched<'a> {
    merchants: &'a Merchants,
    seller: Seller,
    path: String,
    sale: SaleId,
    lane: LaneId,
    offer: OfferId,
}

impl<'a> Watched<'a> {
    fn publish(merchants: &'a Merchants) -> Self {
        let seller = Seller::open(merchants, 100).unwrap();
        let offer = json!({ "sku": Seller::SKU, "warehouse": "MAIN", "allotment": 100 });
        let terms = json!({ "code": "day-1", "title": "Day one", "opens_at": "2048-01-01T00:00:00Z",
            "closes_at": "2049-01-01T00:00:00Z",
            "lanes": [{ "code": "main", "limit_per_buyer": 1, "offers": [offer] }] });
        let path = "/v1/merchant/sales";
        let made = seller.call(merchants, ("POST", path), &terms).unwrap();
        let path = format!("{path}/{}", made["id"].as_str().unwrap());
        seller.call(merchants, ("POST", &format!("{path}/publish")), &json!({})).unwrap();
        let number = |value: &Value| value.as_str().unwrap().parse::<u64>().unwrap();
        let lane = &made["terms"]["lanes"][0];
        Self {
            merchants,
            seller,
            path,
            sale: SaleId::new(number(&made["id"])).unwrap(),
            lane: LaneId::new(number(&lane["id"])).unwrap(),
            offer: OfferId::new(number(&lane["offers"][0]["id"])).unwrap(),
        }
    }

    /// The codes of what is red now.
    fn red(&self) -> anyhow::Result<Vec<String>> {
        let report = self.seller.call(self.merchants, ("POST", &format!("{}/check", self.path)), &json!({}))?;
        let red = report["findings"].as_array().unwrap().iter().filter(|finding| finding["light"] == "red");
        Ok(red.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect())
    }

    fn wait_red(&self, what: &str, expected: &[&str]) {
        wait_until(what, PATIENCE, || Ok(self.red()? == expected)).unwrap_or_else(|error| {
            panic!("{what}: {expected:?} expected, {:?} found: {error}", self.red());
        });
    }
}

#[test]
fn what_is_wrong_with_an_engine_or_the_stock_is_red_while_it_is_wrong() {
    let mut services = Services::new("readiness").unwrap();
    let writer = services.order_writer(&["--lane-settling", "never"]).unwrap();
    let (_catalog, merchants) = services.catalog().unwrap();
    let sale = Watched::publish(&merchants);
    sale.wait_red("no engine runs", &["no_engine"]);
    let (_first, _) = services.another_engine().unwrap();
    let (mut second, _) = services.another_engine().unwrap();
    sale.wait_red("two engines have the sale", &[]);

    second.freeze().unwrap();
    sale.wait_red("an engine is frozen", &["engine_silent"]);
    second.thaw().unwrap();
    sale.wait_red("it goes on", &[]);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stores = services.stores().unwrap();
    writer.freeze().unwrap();
    let redis = RedisSettings::new(stores.redis_url.expose(), stores.namespace.as_str());
    runtime.block_on(async {
        let keeping = RedisKeeping::connect(&redis).await.unwrap();
        let LaneMode::Open { epoch } = keeping.inspect(sale.lane).await.unwrap().mode else { panic!("it is open") };
        let withheld = keeping.withhold(sale.lane, epoch, sale.offer, 0, 3).await.unwrap();
        assert_eq!(format!("{withheld:?}"), "Open(3)");
        sale.wait_red("units are missing in the stock", &["stock_differs"]);
        keeping.close(sale.lane, Epoch(epoch.0 + 1)).await.unwrap();
        sale.wait_red("the lane is closed", &["lane_closed"]);
    });
    // A version that the topic lacks: the writer that would tell it is frozen.
    runtime.block_on(async {
        let server = MySqlServer::new(stores.mysql_url.expose(), Settings::default()).unwrap();
        let ledger = open_ledger(&server, &stores.namespace).await.unwrap();
        let mut record = ledger.publications().find(sale.sale).await.unwrap().unwrap();
        (record.version, record.title) = (2, "Day one, once more".to_owned());
        let published = ledger.publications().publish(&record, Some(1)).await.unwrap();
        assert_eq!(published, Published::Done);
        let known = server.open(&stores.namespace.catalog());
        let is_known = "SELECT COUNT(*) FROM sales WHERE sale = ? AND published = 2";
        while known.rows(is_known, vec![sale.sale.stored().into()]).await.unwrap().remove(0).int().unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    sale.wait_red("both engines have the version before", &["engine_behind", "engine_behind", "lane_closed"]);
    writer.thaw().unwrap();
    sale.wait_red("the writer has told it, and loaded the lane", &[]);

    services.redis.kill().unwrap();
    sale.wait_red("the stock server is gone", &["stock_away"]);
    services.redis.restart().unwrap();
    sale.wait_red("it is back", &[]);

    second.kill().unwrap();
    sale.wait_red("an engine was killed", &["engine_silent"]);
    sale.wait_red("its lease ended", &[]);
}
