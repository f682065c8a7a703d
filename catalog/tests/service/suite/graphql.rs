//! `/v1/graphql`: the same things as by the routes, each level in one statement, page by page, by
//! the permission of each field, for the own tenant alone; and what asks for too much is refused
//! before anything is read.

use serde_json::{Value, json};
use store::sql::Sql as _;

use super::{
    products::{new_product, new_sku},
    rig::{OPERATOR, Rig},
    sales::{SALES, made, published, step, stocked},
    staff::Staff,
    stock::Shop,
};

const ROUTE: &str = "/v1/graphql";

/// What there is of everything that a shop has.
pub(super) const EVERYTHING: &str = "{ products { items { code title skus { items { code stock { items { sku } } } } } \
    } \
    skus { items { code } } stock { items { sku warehouse } } warehouses { items { code name } } \
    sales { items { code terms { title } offers { items { sku title standing { left } } } } } }";

async fn asked(shop: &Shop<'_>, query: &str) -> Value {
    with(shop, query, json!({})).await
}

async fn with(shop: &Shop<'_>, query: &str, variables: Value) -> Value {
    shop.post(ROUTE, &json!({ "query": query, "variables": variables })).await.expect(200)
}

/// The data of an answer without errors.
async fn data(shop: &Shop<'_>, query: &str) -> Value {
    let answer = asked(shop, query).await;
    assert_eq!(answer["errors"], Value::Null, "{query}");
    answer["data"].clone()
}

/// Statements on the service's database and on the ledger's while something is asked.
async fn statements(shop: &Shop<'_>, query: &str) -> [u64; 2] {
    let read = || {
        let (own, ledger) = (shop.rig.db.figures(), shop.rig.ledger.figures());
        [own, ledger].map(|figures| figures.statements.answered)
    };
    let before = read();
    asked(shop, query).await;
    let after = read();
    [after[0] - before[0], after[1] - before[1]]
}

/// A shop with these products of two SKUs each, which lie in two warehouses.
async fn shop_of<'r>(rig: &'r Rig, products: &[&str]) -> Shop<'r> {
    let shop = Shop::new(rig, 7);
    for code in ["MAIN", "SIDE"] {
        shop.warehouse(code).await;
    }
    for code in products {
        let body = json!({ "code": code, "title": code, "attributes": [{ "name": "material", "value": "steel" }] });
        let product = new_product(rig, 7, &body).await.expect(201);
        for colour in ["RED", "BLUE"] {
            let sku = format!("{code}-{colour}");
            let body = json!({ "code": sku, "price": { "amount": 9_007_199_254_740_991_i64, "currency": "CNY" } });
            new_sku(rig, 7, &product, &body).await.expect(201);
            for (warehouse, units) in [("MAIN", 5), ("SIDE", 7)] {
                let line = json!({ "kind": "receive", "sku": sku, "warehouse": warehouse, "units": units });
                shop.moves(&[line]).await.expect(200);
            }
        }
    }
    shop
}

/// The names of REST as GraphQL has them: `on_hand` is `onHand`.
fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |name, part| name + &part[..1].to_uppercase() + &part[1..])
}

/// Asserts that a thing of the schema shows what its route shows.
#[track_caller]
fn same(by_route: &Value, by_graphql: &Value, but: &[&str]) {
    for (name, shown) in by_route.as_object().unwrap() {
        if but.contains(&name.as_str()) {
            continue;
        }
        let found = &by_graphql[camel(name)];
        let found = if name == "state" { json!(found.as_str().unwrap().to_lowercase()) } else { found.clone() };
        assert_eq!(&found, shown, "{name}");
    }
}

#[tokio::test]
async fn products_with_their_skus_and_stock_are_those_of_the_routes() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = shop_of(&rig, &["KETTLE", "CUP"]).await;
    let found = data(
        &shop,
        "{ products(first: 5) { nextCursor items { id code title description state attributes { name value } images \
         fields version createdAt updatedAt skus(first: 5) { nextCursor items { id productId code price { amount \
         currency } barcode weightG state attributes { name value } images used version createdAt updatedAt \
         stock(first: 5) { nextCursor items { skuId sku warehouseId warehouse onHand allotted unshipped expired \
         available threshold low version changedAt } } } } } } \
         warehouses { items { id code name state version createdAt } } \
         stock(warehouse: \"SIDE\") { items { sku onHand } } }",
    )
    .await;
    let products = shop.all("/v1/products").await;
    assert_eq!(found["products"]["items"].as_array().unwrap().len(), 2);
    for (place, product) in products.iter().enumerate() {
        let by_graphql = &found["products"]["items"][place];
        same(product, by_graphql, &[]);
        let skus = shop.all(&format!("/v1/products/{}/skus", product["id"].as_str().unwrap())).await;
        assert_eq!(skus.len(), 2);
        for (place, sku) in skus.iter().enumerate() {
            let by_graphql = &by_graphql["skus"]["items"][place];
            same(sku, by_graphql, &["product"]);
            assert_eq!((&by_graphql["productId"], &by_graphql["stock"]["nextCursor"]), (&product["id"], &Value::Null));
            let levels = shop.all(&format!("/v1/stock/{}", sku["id"].as_str().unwrap())).await;
            assert_eq!(levels.len(), 2);
            for (place, level) in levels.iter().enumerate() {
                same(level, &by_graphql["stock"]["items"][place], &[]);
            }
        }
    }
    for (place, warehouse) in shop.all("/v1/warehouses").await.iter().enumerate() {
        same(warehouse, &found["warehouses"]["items"][place], &[]);
    }
    let side = json!({ "sku": "CUP-BLUE", "onHand": 7 });
    assert_eq!(found["stock"]["items"][3], side);
}

/// However many things stand above a level, it is one statement.
#[tokio::test]
async fn each_level_of_a_query_is_one_statement() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = shop_of(&rig, &["KETTLE", "CUP", "POT"]).await;
    let none = statements(&shop, "{ __typename }").await[0];
    let levels = |first: u32, inner: &str| format!("{{ products(first: {first}) {{ items {{ code {inner} }} }} }}");
    let skus = "skus { items { code } }";
    let stock = "skus { items { code stock { items { onHand } } } }";
    for first in [1, 3] {
        for (inner, expected) in [("", 1), (skus, 2), (stock, 3)] {
            let counted = statements(&shop, &levels(first, inner)).await;
            assert_eq!(counted, [none + expected, 0], "{first} {inner}");
        }
    }
    // The same field twice with the same arguments is read once, with others once more.
    let twice = "a: skus { items { code } } b: skus { items { id } } c: skus(first: 1) { items { id } }";
    assert_eq!(statements(&shop, &levels(3, twice)).await[0], none + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn sales_show_their_offers_and_how_these_stand() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = stocked(&rig).await;
    let (first, second) = (made(&shop, "winter", 60).await, made(&shop, "spring", 30).await);
    step(&shop, &first, "publish").await.expect(200);
    let query = "{ sales { items { id code state version publishedVersion isPublishing createdAt updatedAt terms { \
                 title opensAt closesAt paused buyerRatePerS limitBy membersOnly visibleFrom paymentWindowS fulfilment \
                 afterSaleDays } offers { nextCursor items { id skuId sku warehouse { id code } title price { amount \
                 currency } allotment ratePerS paused lane { id code limitPerBuyer paused } standing { target \
                 effective sold left } } } } } }";
    let found = data(&shop, query).await;
    for (place, sale) in [&first, &second].into_iter().enumerate() {
        let (by_route, by_graphql) =
            (shop.get(&format!("{SALES}/{sale}")).await.expect(200), &found["sales"]["items"][place]);
        same(&by_route, by_graphql, &["terms"]);
        let terms = &by_route["terms"];
        same(terms, &by_graphql["terms"], &["lanes", "limit_by", "fulfilment"]);
        assert_eq!(
            (&by_graphql["terms"]["limitBy"], &by_graphql["terms"]["fulfilment"]),
            (&json!("ACCOUNT"), &json!("EXPRESS"))
        );
        for (place, offer) in terms["lanes"][0]["offers"].as_array().unwrap().iter().enumerate() {
            let by_graphql = &by_graphql["offers"]["items"][place];
            same(offer, by_graphql, &[]);
            same(&terms["lanes"][0], &by_graphql["lane"], &["offers"]);
            assert_eq!(by_graphql["standing"], Value::Null, "no lane is open yet");
        }
    }
    // As the keeper does, and then buyers and a reduction.
    rig.add_lanes(&published(&rig, &first).await.unwrap()).await;
    let sold = "UPDATE offers SET sold = 12, target = 10 WHERE allotment = 60";
    rig.place().ledger_db().await.exec(sold, vec![]).await.unwrap();
    let standings = "{ sales { items { offers { items { sku standing { target effective sold left } } } } } }";
    let found = data(&shop, standings).await;
    let kettles = json!({ "target": 10, "effective": 60, "sold": 12, "left": 48 });
    let cups = json!({ "target": 5, "effective": 5, "sold": 0, "left": 5 });
    assert_eq!(
        found["sales"]["items"][0]["offers"]["items"],
        json!([{ "sku": "KETTLE", "standing": kettles }, { "sku": "CUP", "standing": cups }])
    );
    assert_eq!(found["sales"]["items"][1]["offers"]["items"][0]["standing"], Value::Null);
    let none = statements(&shop, "{ __typename }").await[0];
    assert_eq!(statements(&shop, standings).await, [none + 1, 1], "four offers of two sales");
    // A row of the ledger under the number of one of ours, of another tenant: it is not there.
    let stolen = "UPDATE lanes SET tenant = 8";
    rig.place().ledger_db().await.exec(stolen, vec![]).await.unwrap();
    let found = data(&shop, standings).await;
    assert_eq!(found["sales"]["items"][0]["offers"]["items"][0]["standing"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_goes_on_where_its_page_ended() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = shop_of(&rig, &["KETTLE", "CUP", "POT"]).await;
    let page = async |list: &str, after: &Value| {
        let variables = json!({ "after": after });
        let query = format!("query ($after: String) {{ {list} }}");
        let answer = with(&shop, &query, variables).await;
        assert_eq!(answer["errors"], Value::Null, "{list}");
        answer["data"].clone()
    };
    // Each list with the way to it, and how many things it has.
    let lists = [
        ("products(first: 1, after: $after) { nextCursor items { id } }", "/products", 3),
        ("skus(first: 1, after: $after) { nextCursor items { id } }", "/skus", 6),
        ("stock(first: 1, after: $after) { nextCursor items { skuId warehouseId } }", "/stock", 12),
        ("warehouses(first: 1, after: $after) { nextCursor items { id } }", "/warehouses", 2),
        ("product(id: 2) { skus(first: 1, after: $after) { nextCursor items { id } } }", "/product/skus", 2),
        ("sku(id: 2) { stock(first: 1, after: $after) { nextCursor items { warehouseId } } }", "/sku/stock", 2),
    ];
    for (list, way, expected) in lists {
        let (mut seen, mut after) = (Vec::new(), Value::Null);
        loop {
            let found = page(list, &after).await;
            let found = found.pointer(way).unwrap();
            let items = found["items"].as_array().unwrap();
            assert_eq!(items.len(), 1, "{list}");
            seen.push(items[0].to_string());
            after = found["nextCursor"].clone();
            if after.is_null() {
                break;
            }
        }
        let in_all = seen.len();
        seen.dedup();
        assert_eq!((in_all, seen.len()), (expected, expected), "{list}");
    }
    // Of each product its own first SKU.
    let firsts = data(&shop, "{ products { items { skus(first: 1) { nextCursor items { code } } } } }").await;
    let firsts = firsts["products"]["items"].as_array().unwrap();
    let codes: Vec<&Value> = firsts.iter().map(|product| &product["skus"]["items"][0]["code"]).collect();
    assert_eq!(codes, ["KETTLE-RED", "CUP-RED", "POT-RED"]);
    assert!(firsts.iter().all(|product| product["skus"]["nextCursor"].is_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_go_on_where_their_page_ended() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    made(&shop, "winter", 60).await;
    let first = data(&shop, "{ sales { items { offers(first: 1) { nextCursor items { id sku } } } } }").await;
    let offers = &first["sales"]["items"][0]["offers"];
    assert_eq!((&offers["items"][0]["sku"], &offers["nextCursor"]), (&json!("KETTLE"), &offers["items"][0]["id"]));
    let after = offers["nextCursor"].as_str().unwrap();
    let second = data(
        &shop,
        &format!("{{ sales {{ items {{ offers(first: 1, after: \"{after}\") {{ nextCursor items {{ sku }} }} }} }} }}"),
    )
    .await;
    let expected = json!({ "nextCursor": null, "items": [{ "sku": "CUP" }] });
    assert_eq!(second["sales"]["items"][0]["offers"], expected);
}

#[tokio::test]
async fn a_wrong_page_is_named_and_the_other_fields_are_answered() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = shop_of(&rig, &["KETTLE"]).await;
    let wrong = [
        ("products(first: 0) { items { id } }", "first"),
        ("products(first: 101) { items { id } }", "first"),
        ("products(after: \"x\") { items { id } }", "cursor"),
        ("stock(after: \"1\") { items { sku } }", "cursor"),
    ];
    for (wrong, named) in wrong {
        let answer = asked(&shop, &format!("{{ wrong: {wrong} warehouses {{ items {{ code }} }} }}")).await;
        assert_eq!(answer["data"]["wrong"], Value::Null, "{wrong}");
        assert_eq!(answer["data"]["warehouses"]["items"][0]["code"], "MAIN", "{wrong}");
        let error = &answer["errors"][0];
        assert_eq!((&error["extensions"]["code"], &error["path"]), (&json!("invalid_request"), &json!(["wrong"])));
        assert_eq!(error["extensions"]["errors"][0]["field"], named, "{error}");
    }
}

#[tokio::test]
async fn a_field_that_one_may_not_read_names_the_permission_and_the_others_answer() {
    let rig = Rig::with_tenants(&[7]).await;
    shop_of(&rig, &["KETTLE", "CUP"]).await;
    let asked = async |permissions: &[&str]| {
        let key = rig.key_of("7", permissions).await;
        rig.post(ROUTE).token(&key).json(&json!({ "query": EVERYTHING })).send().await.expect(200)
    };
    let told = |answer: &Value| {
        let errors = answer["errors"].as_array().unwrap().iter();
        let told = errors.map(|error| {
            assert_eq!(error["extensions"]["code"], "forbidden");
            (error["path"][0].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
        });
        let mut told: Vec<_> = told.collect();
        told.sort();
        told
    };
    let lacks = |field: &str, permission: &str| {
        (field.to_owned(), format!("this needs the permission `{permission}`, which you do not have"))
    };
    let products = asked(&["read_products"]).await;
    // The stock of four SKUs is told once.
    let [of_products, stock, warehouses] = ["products", "stock", "warehouses"].map(|field| lacks(field, "read_stock"));
    assert_eq!(told(&products), [of_products, lacks("sales", "read_sales"), stock, warehouses]);
    let sku = &products["data"]["products"]["items"][1]["skus"]["items"][1];
    assert_eq!((&sku["code"], &sku["stock"]), (&json!("CUP-BLUE"), &Value::Null));
    assert_eq!((&products["data"]["sales"], &products["data"]["stock"]), (&Value::Null, &Value::Null));
    let stock = asked(&["read_stock"]).await;
    let expected = [lacks("products", "read_products"), lacks("sales", "read_sales"), lacks("skus", "read_products")];
    assert_eq!(told(&stock), expected);
    assert_eq!(stock["data"]["stock"]["items"].as_array().unwrap().len(), 8);
    assert_eq!(told(&asked(&["read_sales"]).await).len(), 4);
    // The operator is of no tenant.
    let answer = rig.post(ROUTE).token(OPERATOR).json(&json!({ "query": EVERYTHING })).send().await.expect(200);
    assert_eq!(told(&answer).len(), 5);
}

#[tokio::test]
async fn what_asks_for_too_much_is_refused_before_anything_is_read() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = shop_of(&rig, &["KETTLE"]).await;
    let none = statements(&shop, "{ __typename }").await;
    let deep = format!("{}a{}", "{ a ".repeat(40), " }".repeat(40));
    let wide = (0..1_001).fold(String::from("{"), |text, _| text + " sales") + "}";
    let aliased = (0..21).fold(String::from("{"), |text, n| text + &format!(" a{n}: products {{ nextCursor }}")) + "}";
    let cyclic = "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }";
    let doubling = (0..20).fold(String::from("{ ...f0 }"), |text, n| {
        text + &format!(" fragment f{n} on Query {{ ...f{0} ...f{0} }}", n + 1)
    });
    let doubling = doubling + " fragment f20 on Query { __typename }";
    let costly =
        "{ products(first: 100) { items { skus(first: 100) { items { stock(first: 100) { items { sku } } } } } } }";
    for query in [&deep, &wide, &aliased, cyclic, &doubling, costly] {
        let answer = asked(&shop, query).await;
        assert_eq!(answer["data"], Value::Null);
        assert_eq!(answer["errors"][0]["extensions"]["code"], "too_large", "{query} {answer}");
        assert_eq!(statements(&shop, query).await, none, "{query}");
    }
    // What no parser gets to the end of.
    let lists = format!("{{ products(code: {}) {{ nextCursor }} }}", "[".repeat(4_900));
    let objects = format!("{{ products(code: {}1{}) {{ nextCursor }} }}", "{a:".repeat(2_400), "}".repeat(2_400));
    let nested = format!("{{ products(code: {}1{}) {{ nextCursor }} }}", "[".repeat(4_900), "]".repeat(4_900));
    for query in [lists, objects, nested, "{a".repeat(4_900)] {
        let answer = asked(&shop, &query).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "invalid_request", "{answer}");
    }
    let long = json!({ "query": format!("{{ products {{ nextCursor }} }} #{}", "x".repeat(10_000)) });
    let refused = shop.post(ROUTE, &long).await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.wrong_fields(), ["query"]);
}

#[tokio::test]
async fn what_is_no_query_of_the_schema_is_refused_with_a_code() {
    let rig = Rig::with_tenants(&[7]).await;
    let shop = shop_of(&rig, &["KETTLE"]).await;
    let wrong = [
        "{",
        "{ nothing }",
        "mutation { x }",
        "subscription { x }",
        "{ products }",
        "{ products { items { tenant } } }",
        "{ products(state: GONE) { nextCursor } }",
        "{ products(first: \"x\") { nextCursor } }",
        "query a { __typename } query b { __typename }",
        "{ ...nobody }",
    ];
    for query in wrong {
        let answer = asked(&shop, query).await;
        assert_eq!(answer["data"], Value::Null, "{query}");
        let errors = answer["errors"].as_array().unwrap();
        assert!(
            !errors.is_empty() && errors.iter().all(|error| error["extensions"]["code"] == "invalid_request"),
            "{answer}"
        );
    }
    for (body, fields) in [
        (json!({}), vec!["query"]),
        (json!({ "query": 1, "variables": [], "tenant": 8 }), vec!["query", "tenant", "variables"]),
    ] {
        let refused = shop.post(ROUTE, &body).await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.wrong_fields(), fields);
    }
    let text = shop.keyed(ROUTE, "text").body("application/graphql", "{ products { nextCursor } }").send().await;
    text.refused(415, "unsupported_media_type");
    let named = json!({ "query": "query a { a: __typename } query b { b: __typename }", "operationName": "b",
                        "variables": null, "extensions": null });
    assert_eq!(shop.post(ROUTE, &named).await.expect(200), json!({ "data": { "b": "Query" } }));
}

#[tokio::test]
async fn the_schema_is_told_to_who_is_logged_in_alone() {
    let rig = Rig::with_tenants(&[7]).await;
    let query = json!({ "query": "{ __schema { queryType { name } types { name fields { name } } } }" });
    rig.post(ROUTE).json(&query).send().await.refused(401, "unauthenticated");
    let key = rig.key_of("7", &["read_keys"]).await;
    let told = rig.post(ROUTE).token(&key).json(&query).send().await.expect(200);
    assert_eq!((&told["data"]["__schema"]["queryType"]["name"], &told["errors"]), (&json!("Query"), &Value::Null));
}

#[tokio::test]
async fn another_tenants_things_are_absent() {
    let rig = Rig::with_tenants(&[7, 8]).await;
    let shop = shop_of(&rig, &["KETTLE"]).await;
    let ours = data(&shop, "{ product(id: 1) { code } sku(id: 1) { code } }").await;
    assert_eq!(ours, json!({ "product": { "code": "KETTLE" }, "sku": { "code": "KETTLE-RED" } }));
    let other = Shop::new(&rig, 8);
    let found = data(
        &other,
        "{ product(id: 1) { code } sku(id: 1) { code } sale(id: 1) { code } none: product(id: \"x\") { code } \
         products(code: \"KETTLE\") { items { code } } stock(sku: \"KETTLE-RED\") { items { sku } } \
         warehouses { items { code } } sales { items { code } } }",
    )
    .await;
    let empty = json!({ "items": [] });
    let expected = json!({ "product": null, "sku": null, "sale": null, "none": null, "products": empty,
                           "stock": empty, "warehouses": empty, "sales": empty });
    assert_eq!(found, expected);
}

/// It is asked by POST, and it reads: whoever may only read may ask.
#[tokio::test]
async fn a_suspended_tenant_and_a_month_that_is_used_up_meet_it_as_a_read() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let ann = staff.signed_in("ann@kettles.example", &["owner"]).await;
    let key = rig.key_of(&staff.tenant, &["read_products", "write_products"]).await;
    let ask = |token: &str| rig.post(ROUTE).token(token).json(&json!({ "query": "{ products { items { code } } }" }));
    let tenant = format!("/v1/tenants/{}", staff.tenant);
    rig.patch(&tenant).token(OPERATOR).json(&json!({ "state": "suspended" })).send().await.expect(200);
    for token in [&ann, &key] {
        ask(token).send().await.expect(200);
    }
    let product = json!({ "code": "A", "title": "A" });
    rig.post("/v1/products").token(&key).fresh().json(&product).send().await.refused(403, "forbidden");
    let quotas = json!({ "quotas": { "requests_per_month": 1 } });
    rig.put("/v1/plans/free").token(OPERATOR).json(&quotas).send().await.expect(200);
    ask(&key).send().await.refused(403, "quota_exceeded");
    ask(&ann).send().await.expect(200);
    let quotas = json!({ "quotas": { "requests_per_s": 1 } });
    rig.put("/v1/plans/free").token(OPERATOR).json(&quotas).send().await.expect(200);
    ask(&ann).send().await.expect(200);
    ask(&ann).send().await.refused(429, "rate_limited");
}
