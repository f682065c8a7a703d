//! Orders by `/v1/graphql`: what the order service lists, for who asks, by permission, page and
//! filter, and refused as it refuses. Method: an order service that notes what it is asked;
//! `verify/` asks the real one on both deployments.

use std::sync::{Arc, Mutex};

use catalog::ports::{Answering, Asker, OrderService};
use kit::{
    http::header::AUTHORIZATION,
    problem::{Code, Problem},
};
use serde_json::{Value, json};

use super::rig::{OPERATOR, Rig};

const ROUTE: &str = "/v1/graphql";

/// An order service that answers as it is told, and notes tenant, query and token of who asks.
#[derive(Clone)]
pub(super) struct Orders(Arc<Mutex<Told>>);

struct Told {
    page: Result<Value, Box<Problem>>,
    has_account: Result<bool, String>,
    questions: u32,
    asked: Vec<(u32, String, String)>,
}

impl Orders {
    /// It lists this page, and every tenant can be paid.
    pub(super) fn listing(page: Value) -> Self {
        Self(Arc::new(Mutex::new(Told { page: Ok(page), has_account: Ok(true), questions: 0, asked: Vec::new() })))
    }

    fn refuses(&self, problem: Problem) {
        self.0.lock().unwrap().page = Err(problem.into());
    }

    /// Whether a tenant can be paid, from now on.
    pub(super) fn tells(&self, has_account: Result<bool, &str>) {
        self.0.lock().unwrap().has_account = has_account.map_err(str::to_owned);
    }

    /// How often it was asked whether a tenant can be paid.
    pub(super) fn questions(&self) -> u32 {
        self.0.lock().unwrap().questions
    }

    fn asked(&self) -> Vec<(u32, String, String)> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }
}

impl OrderService for Orders {
    fn orders<'a>(&'a self, asker: &'a Asker, query: &'a str) -> Answering<'a, Result<Value, Box<Problem>>> {
        let token = asker.proof[AUTHORIZATION].to_str().unwrap().to_owned();
        let mut told = self.0.lock().unwrap();
        told.asked.push((asker.actor.tenant, query.to_owned(), token));
        let page = told.page.as_ref().map_err(Clone::clone).cloned();
        Box::pin(async move { page })
    }

    fn has_account(&self, _tenant: u32) -> Answering<'_, Result<bool, String>> {
        let mut told = self.0.lock().unwrap();
        told.questions += 1;
        let has_account = told.has_account.clone();
        Box::pin(async move { has_account })
    }
}

/// A service with a tenant, and the order service that it asks.
async fn rig() -> (Rig, Orders) {
    let rig = Rig::with_tenants(&[7]).await;
    let orders = Orders::listing(json!({ "items": [order()], "next_cursor": "c0ffee" }));
    rig.catalog.ask_orders(orders.clone());
    (rig, orders)
}

/// An order as its route shows it.
fn order() -> Value {
    let price = |amount: i64| json!({ "amount": amount, "currency": "CNY" });
    json!({ "order_id": "9007199254740993", "status": "paid", "buyer_id": "5", "sale_id": "70", "offer_id": "71",
        "sku_id": "3", "quantity": 2, "unit_price": price(9_900), "total": price(19_800),
        "reserved_at": "2026-11-11T00:00:00.123Z", "pay_by": "2026-11-11T00:15:00Z", "is_released": false,
        "context": { "table": [4, null] } })
}

async fn asked(rig: &Rig, token: &str, query: &str) -> Value {
    rig.post(ROUTE).token(token).json(&json!({ "query": query })).send().await.expect(200)
}

const ALL: &str = "id status reason buyerId saleId offerId skuId quantity unitPrice { amount currency } \
                   total { amount currency } reservedAt payBy isReleased context";

#[tokio::test]
async fn orders_are_what_the_order_service_lists_to_who_asks() {
    let (rig, orders) = rig().await;
    let key = rig.key_of("7", &["read_orders"]).await;
    let query = format!(
        "{{ orders(first: 2, after: \"ab\", filter: {{ saleId: 70, offerId: \"71\", buyerId: 5, status: \"paid\", \
         from: \"2026-11-11T00:00:00+08:00\", to: \"2027-01-01T00:00:00Z\" }}) {{ nextCursor items {{ {ALL} }} }} }}"
    );
    let answer = asked(&rig, &key, &query).await;
    assert_eq!(answer["errors"], Value::Null, "{answer}");
    let price = |amount: i64| json!({ "amount": amount, "currency": "CNY" });
    let shown = json!({ "id": "9007199254740993", "status": "paid", "reason": null, "buyerId": "5", "saleId": "70",
        "offerId": "71", "skuId": "3", "quantity": 2, "unitPrice": price(9_900), "total": price(19_800),
        "reservedAt": "2026-11-11T00:00:00.123Z", "payBy": "2026-11-11T00:15:00Z", "isReleased": false,
        "context": { "table": [4, null] } });
    assert_eq!(answer["data"]["orders"], json!({ "nextCursor": "c0ffee", "items": [shown] }));
    let query = "limit=2&cursor=ab&sale_id=70&offer_id=71&buyer_id=5&status=paid&from=2026-11-11T00%3A00%3A00%2B08%3A00\
                 &to=2027-01-01T00%3A00%3A00Z";
    assert_eq!(orders.asked(), [(7, query.to_owned(), format!("Bearer {key}"))]);

    // One by a number of its payment; its page is the whole answer.
    orders.0.lock().unwrap().page = Ok(json!({ "items": [order()] }));
    let answer = asked(&rig, &key, "{ orders(filter: { number: \"42 0\" }) { nextCursor items { id } } }").await;
    assert_eq!(answer["data"]["orders"], json!({ "nextCursor": null, "items": [{ "id": "9007199254740993" }] }));
    assert_eq!(orders.asked(), [(7, "number=42+0".to_owned(), format!("Bearer {key}"))]);
    let answer = asked(&rig, &key, "{ orders { items { id } } }").await;
    assert_eq!(answer["errors"], Value::Null, "{answer}");
    assert_eq!(orders.asked()[0].1, "limit=20");
}

#[tokio::test]
async fn orders_need_their_permission_before_anybody_is_asked() {
    let (rig, orders) = rig().await;
    let key = rig.key_of("7", &["read_sales"]).await;
    let answer = asked(&rig, &key, "{ orders { items { id } } sales { items { id } } }").await;
    assert_eq!(answer["data"], json!({ "orders": null, "sales": { "items": [] } }));
    assert_eq!(answer["errors"][0]["extensions"]["code"], "forbidden");
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("`read_orders`"), "{answer}");
    // The operator who acts for nobody has no orders.
    let answer = asked(&rig, OPERATOR, "{ orders { items { id } } }").await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "forbidden");
    assert_eq!(orders.asked(), []);
}

#[tokio::test]
async fn what_the_order_service_refuses_names_the_arguments_and_the_others_answer() {
    let (rig, orders) = rig().await;
    let key = rig.key_of("7", &["read_orders", "read_sales"]).await;
    let both = "{ orders(filter: { saleId: \"x\", status: \"odd\" }) { items { id } } sales { items { id } } }";
    let problem = Problem::new(Code::InvalidRequest, "the query cannot be understood");
    orders.refuses(problem.with_field("sale_id", "give an id").with_field("status", "give a status"));
    let answer = asked(&rig, &key, both).await;
    assert_eq!(answer["data"], json!({ "orders": null, "sales": { "items": [] } }));
    let error = &answer["errors"][0];
    assert_eq!((&error["path"], &error["extensions"]["code"]), (&json!(["orders"]), &json!("invalid_request")));
    let wrong = json!([{ "field": "filter.saleId", "message": "give an id" },
        { "field": "filter.status", "message": "give a status" }]);
    assert_eq!(error["extensions"]["errors"], wrong);

    orders.refuses(Problem::new(Code::TemporarilyUnavailable, "the order service does not answer"));
    let answer = asked(&rig, &key, both).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "temporarily_unavailable");
    assert_eq!(answer["data"]["sales"], json!({ "items": [] }));
    // What it shows of another version, and this one cannot read.
    orders.0.lock().unwrap().page = Ok(json!({ "items": [{ "order_id": "5" }] }));
    let answer = asked(&rig, &key, both).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "internal");

    // The page is checked here.
    orders.asked();
    let answer = asked(&rig, &key, "{ orders(first: 101) { items { id } } }").await;
    assert_eq!(answer["errors"][0]["extensions"]["errors"][0]["field"], "first");
    assert_eq!(orders.asked(), []);
}

#[tokio::test]
async fn orders_count_for_several_reads() {
    let (rig, orders) = rig().await;
    let key = rig.key_of("7", &["read_orders"]).await;
    let lists =
        |count: usize| (0..count).fold(String::from("{"), |text, n| text + &format!(" a{n}: orders {{ nextCursor }}"));
    let answer = asked(&rig, &key, &(lists(4) + "}")).await;
    assert_eq!((&answer["errors"], orders.asked().len()), (&Value::Null, 4));
    let answer = asked(&rig, &key, &(lists(5) + "}")).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "too_large");
    assert_eq!(orders.asked(), []);
}

#[tokio::test]
async fn where_no_order_service_is_named_its_field_says_so() {
    let rig = Rig::with_tenants(&[7]).await;
    let key = rig.key_of("7", &["read_orders"]).await;
    let answer = asked(&rig, &key, "{ orders { items { id } } __typename }").await;
    assert_eq!(answer["data"], json!({ "orders": null, "__typename": "Query" }));
    assert_eq!(answer["errors"][0]["extensions"]["code"], "not_found");
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("no order service is named"), "{answer}");
}
