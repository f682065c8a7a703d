//! Goal: a list shows each order of its tenant once and nobody else's, in the order of their
//! promises, whatever is written meanwhile; a stream tells its buyer each change once. Method: rows
//! as a writer leaves them, their events on a log in a file, pages and streams over HTTP.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use domain::{
    event::OrderEvent,
    id::{BuyerId, OfferId, OrderId, RecordId, SaleId, TenantId},
    order::{OrderRow, Status, Transition},
    record::{ORDER_EVENTS_TYPE, Topic},
};
use http_body_util::BodyExt as _;
use kit::{
    clock::Clock as _,
    http::{Incoming, Response},
};
use orders::follow::follow;
use serde_json::{Value, json};
use store::log::{
    Envelope, OrderLog as _, Topics as _,
    sqlite::{SqliteLog, SqliteSettings, SqliteSource},
};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::rig::{PARTITION, Rig, TOTAL, WINDOW_MS, row};

const STAFF: &str = "staff-7";
/// How long something may take to show.
const PATIENCE: Duration = Duration::from_secs(60);

/// A rig, and the topic that its service follows.
pub(super) struct Followed {
    pub(super) rig: Rig,
    log: SqliteLog,
    told: u64,
    _folder: TempDir,
}

impl Followed {
    pub(super) async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let now_ms = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
        let settings = SqliteSettings::new(4, Arc::new(now_ms));
        let log = SqliteLog::open(&folder.path().join("log.db"), &settings).unwrap().of(Topic::OrderEvents);
        Self { rig: Rig::start().await, log, told: 0, _folder: folder }
    }

    /// A process that follows, until it is aborted.
    pub(super) fn follow(&self) -> JoinHandle<()> {
        let source = SqliteSource::of(&self.log, Topic::OrderEvents);
        let stop = CancellationToken::new();
        tokio::spawn(follow(Arc::clone(&self.rig.following), (source, 4), (stop.clone(), stop)))
    }

    /// Writes rows, and tells of them as the writer does.
    pub(super) async fn place(&mut self, rows: &[OrderRow]) {
        self.rig.write(rows).await;
        for some in rows.chunks(200) {
            self.tell(some, Transition::Accept).await;
        }
    }

    async fn tell(&mut self, rows: &[OrderRow], transition: Transition) {
        let mut payload = Vec::new();
        for row in rows {
            let OrderRow { order, tenant, sale, offer, buyer, quantity, .. } = *row;
            let (sequence, kind) = (transition.sequence(), transition.event());
            let purchased = (transition == Transition::Accept).then_some(domain::event::Purchased {
                sku: row.sku,
                sale_version: row.sale_version,
                unit_price: row.unit_price,
                reserved_at_ms: row.reserved_at_ms,
            });
            let (reason, refunded) = (None, 0);
            let event =
                OrderEvent { order, sequence, kind, tenant, sale, offer, buyer, quantity, purchased, reason, refunded };
            event.append(&mut payload);
        }
        self.append(ORDER_EVENTS_TYPE, payload).await;
    }

    pub(super) async fn append(&mut self, kind: &'static str, payload: Vec<u8>) {
        self.told += 1;
        let id = RecordId::new(self.told).unwrap();
        let record = Envelope { id, kind, payload: payload.into() };
        self.log.append(PARTITION, record, self.log.room().unwrap()).await.unwrap();
    }

    /// Orders of tenant 7, a millisecond after each other, of these buyers.
    pub(super) fn rows(&self, buyers: impl Iterator<Item = u64>) -> Vec<OrderRow> {
        buyers.map(|buyer| row(buyer, self.rig.clock.now_ms() + buyer, WINDOW_MS)).collect()
    }

    /// All pages of a list, in their order.
    async fn list(&self, query: &str, token: &str) -> Vec<OrderId> {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.rig.get(&format!("/v1/merchant/orders?{query}{cursor}"), token).await;
            ids.extend(ids_of(page.expect(200)));
            let Some(next) = page.body["next_cursor"].as_str() else { return ids };
            cursor = format!("&cursor={next}");
        }
    }

    /// Waits until the list is this long.
    pub(super) async fn listed(&self, count: usize) -> Vec<OrderId> {
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let ids = self.list("limit=100", STAFF).await;
                if ids.len() >= count {
                    return ids;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        waited.await.unwrap()
    }

    async fn wrong(&self, query: &str) -> Vec<String> {
        let answer = self.rig.get(&format!("/v1/merchant/orders?{query}"), STAFF).await;
        let errors = answer.refused(400, "invalid_request")["errors"].as_array().unwrap().clone();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }
}

fn ids_of(page: &Value) -> Vec<OrderId> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item["order_id"].as_str().unwrap().parse().unwrap()).collect()
}

pub(super) fn falling(rows: &[OrderRow]) -> Vec<OrderId> {
    let mut ids: Vec<OrderId> = rows.iter().map(|row| row.order).collect();
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids
}

/// Rows of all shards in one order; what is written between two pages is newer than both, and moves
/// nothing.
#[tokio::test]
async fn pages_merge_all_shards_without_gap_or_double_under_inserts() {
    let mut shop = Followed::start().await;
    let _following = shop.follow();
    let first = shop.rows(1..=300);
    shop.place(&first).await;
    assert_eq!(shop.listed(first.len()).await, falling(&first));
    let (mut seen, mut cursor, mut later) = (Vec::new(), String::new(), first.clone());
    for buyers in (400..).step_by(20) {
        let page = shop.rig.get(&format!("/v1/merchant/orders?limit=50{cursor}"), STAFF).await;
        seen.extend(ids_of(page.expect(200)));
        let Some(next) = page.body["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
        let more = shop.rows(buyers..buyers + 20);
        shop.place(&more).await;
        later.extend(more);
        shop.listed(later.len()).await;
    }
    assert_eq!(seen, falling(&first));
    assert_eq!(shop.list("limit=100", STAFF).await, falling(&later));
    assert_eq!(shop.list("limit=7&sale_id=6", STAFF).await, falling(&later));
}

/// Rows from before the topic was followed, rows that it tells too, a record that stands twice, two
/// processes, one that dies amid: each order is listed once.
#[tokio::test]
async fn each_order_is_listed_once_whoever_lists_it_and_dies() {
    let mut shop = Followed::start().await;
    let older = shop.rows(1..=100);
    shop.rig.write(&older).await;
    let both = shop.rows(101..=200);
    shop.place(&both).await;
    shop.tell(&both, Transition::Accept).await;
    // The walk takes what was promised before it began.
    shop.rig.pass(1_000);
    let mut all = [older, both].concat();
    let mut processes = vec![shop.follow(), shop.follow()];
    assert_eq!(shop.listed(200).await, falling(&all));
    for round in 0..3 {
        processes.remove(0).abort();
        let from = 300 + round * 500;
        let more = shop.rows(from..from + 400);
        shop.place(&more).await;
        all.extend(more);
        processes.push(shop.follow());
    }
    assert_eq!(shop.listed(all.len()).await, falling(&all));
}

/// INV-7: another tenant's orders are in no list, found by no number, and shown by no id.
#[tokio::test]
async fn inv_7_a_merchant_sees_the_own_orders_alone() {
    let mut shop = Followed::start().await;
    let _following = shop.follow();
    let mine = shop.rows(1..=20);
    let theirs: Vec<OrderRow> =
        shop.rows(21..=40).into_iter().map(|row| OrderRow { tenant: TenantId::new(9).unwrap(), ..row }).collect();
    shop.place(&[&mine[..], &theirs].concat()).await;
    assert_eq!(shop.listed(20).await, falling(&mine));
    assert_eq!(shop.list("limit=7", "staff-9").await, falling(&theirs));
    assert_eq!(shop.list("limit=7&sale_id=6&status=pending_payment", "staff-9").await, falling(&theirs));
    assert_eq!(shop.list("limit=7", "staff-8").await, []);
    for row in &theirs[..3] {
        let (order, buyer) = (row.order, row.buyer);
        assert_eq!(shop.list(&format!("buyer_id={buyer}"), STAFF).await, []);
        assert_eq!(shop.list(&format!("number={order}"), STAFF).await, []);
        assert_eq!(shop.list(&format!("number={order}"), "staff-9").await, [order]);
        shop.rig.get(&format!("/v1/merchant/orders/{order}"), STAFF).await.refused(404, "not_found");
        assert_eq!(
            shop.rig.get(&format!("/v1/merchant/orders/{order}"), "staff-9").await.expect(200)["status"],
            "pending_payment"
        );
    }
    let cursor = shop.rig.get("/v1/merchant/orders?limit=3", "staff-9").await.body["next_cursor"].clone();
    let cursor = cursor.as_str().unwrap();
    assert_eq!(shop.wrong(&format!("cursor={cursor}")).await, ["cursor"], "another tenant's");
    let forged = cursor.replace(cursor.chars().last().unwrap(), "x");
    for forged in [&forged, "1", &cursor[1..], &cursor.to_uppercase()] {
        let answer = shop.rig.get(&format!("/v1/merchant/orders?cursor={forged}"), "staff-9").await;
        answer.refused(400, "invalid_request");
    }
    for path in ["/v1/merchant/orders".to_owned(), format!("/v1/merchant/orders/{}", mine[0].order)] {
        shop.rig.get(&path, "weak-7").await.refused(403, "forbidden");
        shop.rig.get(&path, "nobody-7").await.refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn lists_are_narrowed_and_wrong_parameters_named_together() {
    let mut shop = Followed::start().await;
    let _following = shop.follow();
    let mut rows = shop.rows(1..=400);
    for row in &mut rows {
        let n = row.buyer.get();
        row.sale = SaleId::new(if n % 4 == 0 { 16 } else { 6 }).unwrap();
        row.offer = OfferId::new(if n % 2 == 0 { 18 } else { 8 }).unwrap();
        row.status = if n == 3 { Status::Paid } else { Status::PendingPayment };
    }
    shop.place(&rows).await;
    shop.listed(rows.len()).await;
    let fit = |fits: &dyn Fn(&OrderRow) -> bool| {
        let fitting: Vec<OrderRow> = rows.iter().filter(|row| fits(row)).cloned().collect();
        falling(&fitting)
    };
    let [sale, offer] = [SaleId::new(16).unwrap().get(), OfferId::new(18).unwrap().get()];
    let list = async |query: &str| shop.list(query, STAFF).await;
    assert_eq!(list("limit=9&sale_id=16").await, fit(&|row| row.sale.get() == sale));
    assert_eq!(list("limit=9&offer_id=18").await, fit(&|row| row.offer.get() == offer));
    let both = |row: &OrderRow| row.sale.get() == sale && row.offer.get() == offer;
    assert_eq!(list("sale_id=16&offer_id=18").await, fit(&both));
    assert_eq!(list("sale_id=6&offer_id=999").await, []);
    assert_eq!(list("status=paid").await, fit(&|row| row.status == Status::Paid));
    assert_eq!(list("buyer_id=5").await, fit(&|row| row.buyer == BuyerId::new(5).unwrap()));
    assert_eq!(list("buyer_id=5&status=paid").await, []);
    let begin = shop.rig.clock.now_ms();
    let (from, to) = (kit::clock::rfc3339(begin + 100), kit::clock::rfc3339(begin + 200));
    assert_eq!(
        list(&format!("limit=9&from={from}&to={to}")).await,
        fit(&|row| (begin + 100..begin + 200).contains(&row.reserved_at_ms))
    );
    let wrong = shop.wrong("sale_id=0&offer_id=x&buyer_id=-1&status=gone&from=today&to=&limit=0&cursor=x").await;
    assert_eq!(wrong, ["sale_id", "offer_id", "buyer_id", "status", "from", "to", "limit"]);
    assert_eq!(shop.wrong("cursor=x").await, ["cursor"]);
    assert_eq!(shop.wrong("number=7&limit=3").await, ["number"]);
    shop.rig.get("/v1/merchant/orders?sort=up", STAFF).await.refused(400, "invalid_request");
}

/// Who did what, with the provider's numbers, by which the order is found.
#[tokio::test]
async fn an_order_is_shown_with_its_timeline_and_found_by_its_numbers() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    let path = format!("/v1/merchant/orders/{order}");
    let lines = |body: &Value| -> Vec<String> {
        let lines = body["timeline"].as_array().unwrap().iter();
        lines
            .map(|line| format!("{} {}", line["who"].as_str().unwrap_or("-"), line["what"].as_str().unwrap()))
            .collect()
    };
    assert_eq!(lines(rig.get(&path, STAFF).await.expect(200)), ["buyer created"]);
    rig.paid(order, 1).await;
    rig.refund(order, "a", Some(TOTAL / 3)).await.expect(201);
    rig.work().await;
    rig.deliver().await;
    let shown = rig.get(&path, STAFF).await;
    let body = shown.expect(200);
    assert_eq!((&body["status"], &body["total"]["amount"]), (&json!("paid"), &json!(TOTAL)));
    let told = lines(body);
    assert!(told.starts_with(&["buyer created".to_owned(), "buyer attempt".to_owned()]), "{told:?}");
    assert!(told.contains(&"simulated paid".to_owned()), "{told:?}");
    let (attempt, refund) = (&body["attempts"][0], &body["refunds"][0]);
    assert_eq!((&attempt["state"], &attempt["number"]), (&json!("paid"), &json!(format!("{order}_1"))));
    assert_eq!((&refund["state"], &refund["amount"]), (&json!("done"), &json!(TOTAL / 3)));
    let transaction = attempt["provider_number"].as_str().unwrap();
    for number in [transaction, &order.to_string(), &format!("{order}_1"), &format!("{order}_r1")] {
        let found = rig.get(&format!("/v1/merchant/orders?number={number}"), STAFF).await;
        assert_eq!(ids_of(found.expect(200)), [order], "{number}");
        let others = rig.get(&format!("/v1/merchant/orders?number={number}"), "staff-9").await;
        assert_eq!(ids_of(others.expect(200)), [], "{number}");
    }
    let expired = rig.buy([2]).await[0];
    rig.pass(WINDOW_MS + 1);
    assert_eq!(rig.expire().await, 1);
    let shown = rig.get(&format!("/v1/merchant/orders/{expired}"), STAFF).await;
    assert_eq!(lines(shown.expect(200)), ["buyer created", "clock expired"]);
}

/// The next event of a stream: its id and its status; `None` at its end.
async fn next(stream: &mut Response<Incoming>) -> Option<(String, String)> {
    loop {
        let frame = tokio::time::timeout(PATIENCE, stream.body_mut().frame()).await.unwrap()?.ok()?;
        let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
        let part = |name| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        if let (Some(id), Some(data)) = (part("id: "), part("data: ")) {
            let data: Value = serde_json::from_str(&data).unwrap();
            return Some((id, data["status"].as_str().unwrap().to_owned()));
        }
    }
}

fn is(id: &str, status: &str) -> Option<(String, String)> {
    Some((id.to_owned(), status.to_owned()))
}

/// From the promise on: `unwritten`, then each change once; who comes again is not told again.
#[tokio::test]
async fn a_stream_tells_its_buyer_each_change_once() {
    let mut shop = Followed::start().await;
    let rows = shop.rows(1..=1);
    let path = format!("/v1/orders/{}/stream", rows[0].order);
    let token = shop.rig.buyer_token(7, 1);
    let _following = shop.follow();
    // A stream from before the topic's reader found its place ends; a client comes again.
    let mut stream = loop {
        let mut stream = shop.rig.open(&path, &token, &[]).await;
        assert_eq!(
            (stream.status().as_u16(), &stream.headers()["content-type"]),
            (200, &"text/event-stream".parse().unwrap())
        );
        assert_eq!(next(&mut stream).await, is("0", "unwritten"));
        shop.tell(&rows, Transition::Accept).await;
        if let Some(told) = next(&mut stream).await {
            assert_eq!(Some(told), is("1", "pending_payment"));
            break stream;
        }
    };
    shop.rig.write(&rows).await;
    shop.tell(&rows, Transition::Accept).await;
    shop.tell(&rows, Transition::Pay).await;
    assert_eq!(next(&mut stream).await, is("2", "paid"));
    let mut again = shop.rig.open(&path, &token, &[("last-event-id", "1")]).await;
    shop.tell(&rows, Transition::Fulfil).await;
    assert_eq!((next(&mut stream).await, next(&mut again).await), (is("3", "fulfilled"), is("3", "fulfilled")));
    let refused = shop.rig.open(&path, &token, &[("last-event-id", "x")]).await;
    assert_eq!(refused.status().as_u16(), 400);
}

/// INV-7: another buyer's order, another tenant's and one that never was have the same answer.
/// Streams of one buyer are bounded.
#[tokio::test]
async fn inv_7_a_stream_is_its_buyers_alone() {
    let mut shop = Followed::start().await;
    let rows = shop.rows(1..=1);
    shop.rig.write(&rows).await;
    let order = rows[0].order;
    let same_slot = (2..).find(|n| domain::id::Slot::of(BuyerId::new(*n).unwrap()) == order.slot()).unwrap();
    let other_slot = (2..).find(|n| domain::id::Slot::of(BuyerId::new(*n).unwrap()) != order.slot()).unwrap();
    let never = OrderId::new(order.get() + 1).unwrap();
    let open = async |order: OrderId, tenant, buyer| {
        shop.rig.open(&format!("/v1/orders/{order}/stream"), &shop.rig.buyer_token(tenant, buyer), &[]).await
    };
    for (tenant, buyer) in [(7, same_slot), (9, 1)] {
        for order in [order, never] {
            assert_eq!(next(&mut open(order, tenant, buyer).await).await, is("0", "unwritten"));
        }
    }
    assert_eq!(open(order, 7, other_slot).await.status().as_u16(), 404);
    let mut held = Vec::new();
    let refused = loop {
        let mut stream = open(order, 7, 1).await;
        if stream.status().as_u16() != 200 {
            break stream;
        }
        assert_eq!(next(&mut stream).await, is("1", "pending_payment"));
        held.push(stream);
    };
    assert_eq!(
        (held.len(), refused.status().as_u16(), &refused.headers()["retry-after"]),
        (4, 429, &"10".parse().unwrap())
    );
    assert_eq!(open(order, 7, same_slot).await.status().as_u16(), 200);
    drop(held);
    shop.rig.pass(3_700_000);
    // The server sees in a moment that the streams are gone.
    let gone = tokio::time::timeout(PATIENCE, async {
        loop {
            let status = open(never, 7, 1).await.status().as_u16();
            if status != 429 {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(gone.await.unwrap(), 404);
    let unsigned = shop.rig.open(&format!("/v1/orders/{order}/stream"), "nobody", &[]).await;
    assert_eq!(unsigned.status().as_u16(), 401);
}

/// Waits until an export is done; its file.
async fn exported(shop: &Followed, id: &str) -> String {
    let path = format!("/v1/merchant/order-exports/{id}");
    let waited = tokio::time::timeout(PATIENCE, async {
        while shop.rig.get(&path, STAFF).await.expect(200)["state"] != "done" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    waited.await.unwrap();
    let file = shop.rig.open(&format!("{path}/file"), STAFF, &[]).await;
    assert_eq!(file.headers()["content-type"], "text/csv; charset=utf-8");
    let announced: usize = file.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let bytes = file.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(bytes.len(), announced);
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn lines_of(file: &str) -> Vec<OrderId> {
    let lines = file.lines().skip(1);
    lines.map(|line| line.split_once(',').unwrap().0.parse().unwrap()).collect()
}

/// A process that dies amid an export is gone on from: each order stands in the file once. What is
/// written meanwhile is in the next one.
#[tokio::test]
async fn an_export_goes_on_after_a_kill_with_each_order_once() {
    let mut shop = Followed::start().await;
    let process = shop.follow();
    let rows = shop.rows(1..=6_000);
    for some in rows.chunks(2_000) {
        shop.place(some).await;
    }
    shop.listed(rows.len()).await;
    shop.rig.pass(10_000);
    let path = "/v1/merchant/order-exports";
    let made = shop.rig.post(path, STAFF, "one", None).await;
    let id = made.expect(202)["id"].as_str().unwrap().to_owned();
    assert_eq!(shop.rig.post(path, STAFF, "one", None).await.expect(202)["id"], *id);
    shop.rig.post(&format!("{path}?status=paid"), STAFF, "one", None).await.refused(422, "idempotency_mismatch");
    shop.rig.post(&format!("{path}?status=x&sale_id=0"), STAFF, "two", None).await.refused(400, "invalid_request");
    shop.rig.post(path, "weak-7", "two", None).await.refused(403, "forbidden");
    let begun = tokio::time::timeout(PATIENCE, async {
        while shop.rig.get(&format!("{path}/{id}"), STAFF).await.expect(200)["orders"] == 0 {
            tokio::task::yield_now().await;
        }
    });
    begun.await.unwrap();
    process.abort();
    let amid = shop.rig.get(&format!("{path}/{id}"), STAFF).await;
    if amid.expect(200)["state"] == "running" {
        shop.rig.get(&format!("{path}/{id}/file"), STAFF).await.refused(409, "conflict");
    }
    let _process = shop.follow();
    let later = shop.rows(7_000..7_010);
    shop.place(&later).await;
    // Whoever was at work is silent for longer than it may be.
    shop.rig.pass(31_000);
    assert_eq!(lines_of(&exported(&shop, &id).await), falling(&rows));
    for path in [format!("{path}/{id}"), format!("{path}/{id}/file"), format!("{path}/9"), format!("{path}/x")] {
        shop.rig.get(&path, "staff-9").await.refused(404, "not_found");
    }
}

/// What a buyer wrote is text in a spreadsheet, and the filter of a list is the file's.
#[tokio::test]
async fn an_export_holds_what_its_parameters_say_as_text() {
    let mut shop = Followed::start().await;
    let _process = shop.follow();
    let mut rows = shop.rows(1..=10);
    rows[3].sale = SaleId::new(16).unwrap();
    rows[3].context = r#"{"note":"a,b"}"#.into();
    shop.place(&rows).await;
    shop.listed(rows.len()).await;
    shop.rig.pass(10_000);
    let made = shop.rig.post("/v1/merchant/order-exports?sale_id=16", STAFF, "one", None).await;
    let file = exported(&shop, made.expect(202)["id"].as_str().unwrap()).await;
    let (head, line) = file.split_once('\n').unwrap();
    assert!(head.starts_with("order_id,status,reason,buyer_id,"), "{head}");
    assert!(line.starts_with(&format!("{},pending_payment,,4,16,8,5,3,", rows[3].order)), "{line}");
    assert!(line.ends_with(",false,\"{\"\"note\"\":\"\"a,b\"\"}\"\n"), "{line}");
    let none = shop.rig.post("/v1/merchant/order-exports?sale_id=99", STAFF, "two", None).await;
    assert_eq!(lines_of(&exported(&shop, none.expect(202)["id"].as_str().unwrap()).await), []);
}
