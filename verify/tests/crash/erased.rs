//! A person whom the shop forgot, in the production deployment: after an erasure his name, his
//! number and his address are in no database, in no key of Redis, in no record of the log and in no
//! line that a service wrote; his order and its money are as they were. Method: they are planted,
//! he buys, and everything that remembers is searched, also for what must be there, so that a
//! search that looks nowhere is seen.

use kit::settings::StoreArgs;
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};
use serde_json::json;
use store::sql::{Server as _, Sql as _};
use verify::{
    funnel::{Merchants, answered},
    search::{bytes_below, holds},
};

use super::*;

const PERSON: [&str; 4] = ["Zhang Sanfeng-Planted", "13987654321", "7 Planted Lane", "planted-account"];
/// What each place must hold: the search finds it.
const KETTLE: &str = "Kettle-in-every-place";

/// All rows of all databases of the namespace, as text.
async fn databases(args: &StoreArgs) -> Vec<u8> {
    let server = MySqlServer::new(args.mysql_url.expose(), Settings::default()).unwrap();
    let mut found = Vec::new();
    let ledger = server.open(&format!("{}_ledger", args.namespace.as_str()));
    let names = "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE ?";
    let names = ledger.rows(names, vec![format!("{}%", args.namespace.as_str()).as_str().into()]).await.unwrap();
    ledger.close().await;
    assert!(names.len() >= 3, "ledger, catalog and shards");
    for mut name in names {
        let db = server.open(&name.text().unwrap());
        let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()";
        for mut table in db.rows(tables, vec![]).await.unwrap() {
            let table = table.text().unwrap();
            for row in db.rows(&format!("SELECT * FROM {table}"), vec![]).await.unwrap() {
                found.extend_from_slice(format!("{table}: {row:?}\n").as_bytes());
            }
        }
        db.close().await;
    }
    found
}

/// Keys, values and headers of all records of the namespace's topics.
fn log(args: &StoreArgs) -> Vec<u8> {
    let settings = KafkaSettings::new(&args.kafka.kafka_brokers, args.namespace.as_str(), args.partitions.into());
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &args.kafka.kafka_brokers)
        .set("group.id", "search")
        .set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let patience = Duration::from_secs(60);
    let mut found = Vec::new();
    for topic in settings.topics() {
        let metadata = consumer.fetch_metadata(Some(&topic), patience).unwrap();
        for partition in metadata.topics()[0].partitions().iter().map(|partition| partition.id()) {
            let (first, end) = consumer.fetch_watermarks(&topic, partition, patience).unwrap();
            let mut place = TopicPartitionList::new();
            place.add_partition_offset(&topic, partition, Offset::Beginning).unwrap();
            consumer.assign(&place).unwrap();
            let mut at = first;
            while at < end {
                // What is compacted or a marker of a transaction is no record, and ends nothing.
                let Some(record) = consumer.poll(patience) else { break };
                let record = record.unwrap().detach();
                for part in [record.key(), record.payload()].into_iter().flatten() {
                    found.extend_from_slice(part);
                }
                found.extend_from_slice(format!("{:?}", record.headers()).as_bytes());
                at = record.offset() + 1;
            }
        }
    }
    found
}

/// Looks for him everywhere.
fn search(runtime: &tokio::runtime::Runtime, services: &Services) {
    let args = services.stores().unwrap();
    let places = [
        ("the databases", runtime.block_on(databases(&args)), KETTLE),
        ("the log", log(&args), KETTLE),
        ("Redis", bytes_below(&services.folder().join("redis")).unwrap(), "{5001}"),
        ("what the services wrote", bytes_below(services.folder()).unwrap(), "sales published"),
    ];
    for (place, bytes, must) in &places {
        assert!(holds(bytes, must), "{place}: the search does not look there");
        for text in PERSON {
            assert!(!holds(bytes, text), "{text} stands in {place}");
        }
    }
}

#[test]
fn an_erased_person_is_in_no_store_and_his_order_stays() {
    let production = open("erased", &[]);
    let (mut catalog, merchants) = production.services.catalog().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ask = |merchants: &Merchants, method: &str, path: &str, tenant: &str, body: &Value| {
        let (status, answer) = merchants.ask(method, path, tenant, body).unwrap();
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    };
    let shop = json!({ "code": "kettles", "name": "Kettles", "plan": "unlimited" });
    let tenant = ask(&merchants, "POST", "/v1/tenants", "", &shop)["id"].as_str().unwrap().to_owned();
    let wanted = json!({ "buyers": [{ "id": PERSON[3] }] });
    let minted = ask(&merchants, "POST", "/v1/buyer-tokens", &tenant, &wanted)["tokens"][0].clone();
    let (buyer, token) = (minted["buyer"].as_str().unwrap(), minted["token"].as_str().unwrap());
    let profile = json!({ "name": PERSON[0], "phone": format!("+86{}", PERSON[1]), "address": PERSON[2] });
    ask(&merchants, "PUT", &format!("/v1/buyers/{buyer}/profile"), &tenant, &profile);
    production.services.publish(&sale(&tenant)).unwrap();

    let asks = |what: &str, body: &Value| answered(production.services.engine_address(), what, token, "", body);
    let purchase = json!({ "offer_id": "9001", "quantity": 1 });
    let mut order = String::new();
    wait_until("he buys", Duration::from_secs(60), || {
        let (status, answer) = asks("POST /v1/orders", &purchase)?;
        order = answer["order_id"].as_str().unwrap_or_default().to_owned();
        Ok(status == 202)
    })
    .unwrap();
    let shown = || asks(&format!("GET /v1/orders/{order}?offer_id=9001"), &Value::Null).unwrap().1;
    wait_until("his order has a row", Duration::from_secs(60), || Ok(shown()["status"] == "pending_payment")).unwrap();
    let before = shown();

    for what in ["export", "erasure"] {
        let job = ask(&merchants, "POST", &format!("/v1/buyers/{what}"), &tenant, &json!({ "buyers": [buyer] }));
        let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
        let done = || Ok(ask(&merchants, "GET", &path, &tenant, &Value::Null)["state"] == "done");
        wait_until(what, Duration::from_secs(60), done).unwrap();
    }
    let kept = ask(&merchants, "GET", &format!("/v1/buyers/{buyer}"), &tenant, &Value::Null);
    assert!(kept["erased_at"].is_string() && kept.get("profile").is_none(), "{kept}");
    assert_eq!(shown(), before, "his order and its money are as they were");
    // What a process has in its buffers is in its files at the end.
    catalog.terminate().unwrap();
    catalog.wait(Duration::from_secs(30)).unwrap();
    search(&runtime, &production.services);
}

/// A sale of this tenant.
fn sale(tenant: &str) -> String {
    format!(
        "id = \"1001\"\ntenant = \"{tenant}\"\ntitle = \"{KETTLE}\"\nbuyer_rate_per_s = 1000\nopens_at = \"2020-01-01T00:00:00Z\"\n\
         closes_at = \"2059-01-01T00:00:00Z\"\n\n[[lanes]]\nid = \"5001\"\npartition = 0\nlimit_per_buyer = 1\n\n\
         [[lanes.offers]]\nid = \"9001\"\nsku = \"1\"\ntitle = \"{KETTLE}\"\n\
         price = {{ amount = 19900, currency = \"CNY\" }}\nallotment = 10\nrate_per_s = 1000\n"
    )
}
