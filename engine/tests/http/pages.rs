//! Goal: a page is right within a second at any time, is written once a change, and its readers
//! share it; a list the same. Method: the served shop on a clock that moves by hand; what was
//! written, and which lanes were asked, is counted.

use std::{io::Read as _, time::Duration};

use domain::{
    id::{LaneId, OfferId, SaleId},
    sale::{Sale, Window},
};

use super::*;
use testing::sale;

/// A page that was checked longer ago is checked before it is sent.
const LATER: Duration = Duration::from_millis(701);

impl Served {
    /// What the page of sale 1 says of its state and of the stock of its offer.
    async fn says(&self) -> (String, Option<String>) {
        let page = self.get("/v1/sales/1", None).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let stock = page.body["offers"][0]["stock"].as_str().map(str::to_owned);
        (page.body["state"].as_str().unwrap().to_owned(), stock)
    }

    async fn stock(&self) -> Option<String> {
        self.says().await.1
    }

    fn publish(&self, sales: Vec<Sale>) {
        self.directory.take_in(sales, self.clock.now_ms());
    }

    async fn list(&self, query: &str) -> Answer {
        let list = self.get(&format!("/v1/sales?{query}"), None).await;
        assert_eq!(list.status, 200, "{}", list.body);
        list
    }
}

fn some(word: &str) -> Option<String> {
    Some(word.to_owned())
}

/// Sale 7, of so many offers, as many in a lane as fit.
fn large(offers: u64) -> Sale {
    let mut large = sale(7);
    let mut one = large.lanes.remove(0);
    let offer = one.offers.remove(0);
    for number in 0..offers {
        if number % 64 == 0 {
            one.id = LaneId::new(10_000 + number).unwrap();
            large.lanes.push(one.clone());
        }
        let offer = domain::sale::Offer { id: OfferId::new(20_000 + number).unwrap(), ..offer.clone() };
        large.lanes.last_mut().unwrap().offers.push(offer);
    }
    large
}

/// Sale `n`, which sells in this window.
fn between(n: u64, opens_at_ms: u64, closes_at_ms: u64) -> Sale {
    Sale { window: Window { opens_at_ms, closes_at_ms }, ..sale(n) }
}

fn ids(list: &Answer) -> Vec<u64> {
    let sales = list.body["sales"].as_array().unwrap().iter();
    sales.map(|sale| sale["sale_id"].as_str().unwrap().parse().unwrap()).collect()
}

/// Nobody buys, the page is not asked for, and an hour later it is right all the same: also when
/// the stock moved meanwhile.
#[tokio::test]
async fn a_page_at_rest_says_what_the_lane_says() {
    let shop = Served::new(1);
    assert_eq!(shop.stock().await, some("low"));
    assert_eq!(shop.buy(1, "k").await.status, 202);
    shop.clock.advance(Duration::from_secs(1));
    for rest in [12, 60, 600] {
        shop.clock.advance(Duration::from_secs(rest));
        assert_eq!(shop.stock().await, some("sold_out"), "{rest} idle seconds later");
    }
    shop.stock.open(1, 2, 500);
    shop.clock.advance(Duration::from_secs(1));
    assert_eq!(shop.stock().await, some("available"), "a cancellation or a rebuild");
}

/// A restart: this engine never sold anything, and knows that it is sold out.
#[tokio::test]
async fn a_page_after_a_restart_says_what_the_lane_says() {
    assert_eq!(Served::new(0).stock().await, some("sold_out"));
}

/// What is not known is left out: before the lane is open, and when it has not answered for long.
#[tokio::test]
async fn stock_that_nobody_knows_is_not_shown() {
    let shop = Served::new(0);
    shop.stock.restart();
    assert_eq!(shop.stock().await, None);
    shop.stock.open(1, 2, 0);
    shop.clock.advance(Duration::from_secs(1));
    assert_eq!(shop.stock().await, some("sold_out"));
    shop.stock.restart();
    shop.clock.advance(Duration::from_secs(1));
    assert_eq!(shop.stock().await, some("sold_out"), "it is being rebuilt");
    shop.clock.advance(Duration::from_secs(10));
    assert_eq!(shop.stock().await, None);
    shop.stock.fail(&[Fault::LoseCall]);
    shop.stock.open(1, 3, 0);
    shop.clock.advance(Duration::from_secs(1));
    assert_eq!(shop.stock().await, None, "an answer that was lost tells nothing");
    shop.clock.advance(Duration::from_secs(1));
    assert_eq!(shop.stock().await, some("sold_out"));
}

/// The state changes by the clock alone, at the very millisecond, and the tag with it; nothing else
/// does.
#[tokio::test]
async fn the_state_is_part_of_the_tag_and_time_is_not() {
    let (shop, window) = (Served::new(10), sale(1).window);
    let mut tags = Vec::new();
    for (wall_ms, state) in [
        (window.opens_at_ms - 1, "not_started"),
        (window.opens_at_ms, "open"),
        (window.closes_at_ms - 1, "open"),
        (window.closes_at_ms, "ended"),
    ] {
        shop.clock.set_wall(wall_ms);
        assert_eq!(shop.says().await.0, state, "at {wall_ms}");
        let list = shop.list("tenant=1").await;
        assert_eq!(list.body["sales"][0]["state"], state, "in the list at {wall_ms}");
        tags.push(shop.get("/v1/sales/1", None).await.headers["etag"].clone());
    }
    assert!(tags[0] != tags[1] && tags[1] == tags[2] && tags[2] != tags[3], "{tags:?}");
    shop.clock.set_wall(NOW_MS);
    shop.publish(vec![Sale { version: 2, paused: true, ..sale(1) }]);
    assert_eq!(shop.says().await.0, "paused", "a publication is shown at once");
    assert_eq!(shop.list("tenant=1").await.body["sales"][0]["state"], "paused");
}

/// Fault 13: however many read it, a page of 11,700 offers is written once a change, its lanes are
/// asked once a check, and each coding is packed once.
#[tokio::test]
async fn a_large_page_is_written_and_packed_once_and_shared_by_its_readers() {
    let shop = Served::new(10);
    shop.publish(vec![large(11_700)]);
    let read = async |accepted: &str| {
        let headers = [("accept-encoding", accepted)];
        let (status, headers, body) = shop.exchange(&Method::GET, "/v1/sales/7", &headers, "").await;
        assert_eq!((status, &headers["vary"]), (200, &"Accept-Encoding, Origin".parse().unwrap()));
        (headers.get("content-encoding").map(|coding| coding.to_str().unwrap().to_owned()), headers, body)
    };
    let (coding, plain, first) = read("identity").await;
    assert!(coding.is_none() && first.len() > 1 << 20, "{} bytes", first.len());
    let asked = shop.stock.inspected();
    assert_eq!(asked, 11_700_usize.div_ceil(64), "one question a lane");
    for (wanted, unpack) in [("br", unbr as fn(&[u8]) -> Vec<u8>), ("gzip", ungzip)] {
        let packed = loop {
            let (coding, headers, body) = read(wanted).await;
            if coding.as_deref() == Some(wanted) {
                assert_ne!(headers["etag"], plain["etag"], "another tag, for other bytes");
                break body;
            }
            assert_eq!(body.len(), first.len(), "as it is, until it is packed");
        };
        assert!(packed.len() * 10 < first.len(), "{} bytes", packed.len());
        assert_eq!(unpack(&packed), first);
    }
    shop.clock.advance(Duration::from_secs(60));
    assert_eq!(read("br").await.0, some("br"), "nothing changed, so it is packed still");
    let counted = &shop.page_metrics;
    assert_eq!((counted.pages_written.get(), counted.packed.get()), (1, 2));
}

fn unbr(packed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    brotli::Decompressor::new(packed, 4_096).read_to_end(&mut plain).unwrap();
    plain
}

fn ungzip(packed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut plain).unwrap();
    plain
}

/// The lane that sells tells its stock with each answer; the page adds no question to it.
#[tokio::test]
async fn a_lane_that_sells_is_not_asked() {
    let shop = Served::new(100);
    for buyer in 1..=9 {
        shop.clock.advance(LATER);
        assert_eq!(shop.buy(buyer, "k").await.status, 202);
        assert_eq!(shop.stock().await, some("low"));
    }
    assert_eq!(shop.stock.inspected(), 0);
}

/// Readers ask no lane and no database, and write nothing: a thousand reads of page and list are
/// one question each, and one more for each time that they get old. Numbers at random, and tenants
/// at random, leave nothing behind.
#[tokio::test]
async fn readers_cost_no_question_and_unknown_numbers_store_nothing() {
    let shop = Served::new(10);
    // A database that is away would fail whoever asked it.
    *shop.rows.is_away.lock().unwrap() = true;
    let read_all = async || {
        for _ in 0..250 {
            assert_eq!(shop.stock().await, some("low"));
            assert_eq!(shop.list("tenant=1").await.body["sales"][0]["stock"], "low");
        }
    };
    read_all().await;
    let counted = || {
        let metrics = &shop.page_metrics;
        (metrics.questions.get(), metrics.pages_written.get(), metrics.lists_written.get(), shop.stock.finds())
    };
    assert_eq!(counted(), (1, 1, 1, 0));
    shop.clock.advance(Duration::from_secs(60));
    read_all().await;
    assert_eq!(counted(), (2, 1, 1, 0), "asked again once, and nothing changed");
    assert_eq!((shop.stock.inspected(), shop.stock.calls().len()), (2, 0));
    let boards = shop.pages.boards();
    for unknown in 1_000..1_250 {
        assert_eq!(shop.get(&format!("/v1/sales/{unknown}"), None).await.code(), (404, "not_found"));
        assert_eq!(shop.list(&format!("tenant={unknown}")).await.body, json!({"sales": []}));
    }
    assert_eq!((counted(), shop.pages.boards()), ((2, 1, 1, 0), boards));
}

/// Open ones, of which the first to end comes first; then those to come, the first to open first;
/// then those that ended lately, the last first. Of other tenants none.
#[tokio::test]
async fn a_list_has_the_open_sales_first() {
    const HOUR: u64 = 3_600_000;
    let shop = Served::new(1);
    let mut foreign = sale(9);
    foreign.tenant = TenantId::new(2).unwrap();
    shop.publish(vec![
        between(2, NOW_MS - HOUR, NOW_MS + HOUR / 2),
        between(3, NOW_MS + 2 * HOUR, NOW_MS + 3 * HOUR),
        between(4, NOW_MS + HOUR, NOW_MS + 3 * HOUR),
        between(5, NOW_MS - 3 * HOUR, NOW_MS - 2 * HOUR),
        between(6, NOW_MS - 3 * HOUR, NOW_MS - HOUR),
        between(7, NOW_MS - 400 * HOUR, NOW_MS - 24 * 7 * HOUR),
        foreign,
    ]);
    let list = shop.list("tenant=1").await;
    assert_eq!(ids(&list), [2, 1, 4, 3, 6, 5]);
    assert_eq!(
        list.body["sales"][1],
        json!({"sale_id": "1", "title": "sale", "state": "open", "stock": "low", "opens_at": "2027-01-15T07:00:00.000Z",
            "closes_at": "2027-01-15T09:00:00.000Z", "price_from": {"amount": 9_900, "currency": "CNY"},
            "price_to": {"amount": 9_900, "currency": "CNY"}})
    );
    assert_eq!(ids(&shop.list("tenant=2").await), [9]);
    assert_eq!(list.headers["cache-control"], "public, max-age=1");
    let tag = list.headers["etag"].to_str().unwrap();
    assert_eq!(shop.send(Method::GET, "/v1/sales?tenant=1", &[("if-none-match", tag)], "").await.status, 304);
    shop.clock.set_wall(NOW_MS + HOUR);
    assert_eq!(ids(&shop.list("tenant=1").await), [4, 3, 1, 2, 6, 5], "by the clock alone");
    let changed = shop.send(Method::GET, "/v1/sales?tenant=1", &[("if-none-match", tag)], "").await;
    assert_eq!(changed.status, 200);
}

/// Before the moment from which it may be seen a sale is absent, as one that does not exist; from
/// that millisecond on it is there.
#[tokio::test]
async fn a_sale_that_may_not_be_seen_yet_is_absent() {
    let shop = Served::new(1);
    let hidden = Sale { visible_from_ms: NOW_MS + 10, ..between(2, NOW_MS + 20, NOW_MS + 30) };
    shop.publish(vec![hidden]);
    let nothing = shop.get("/v1/sales/77", None).await;
    for (wall_ms, is_there) in [(NOW_MS, false), (NOW_MS + 9, false), (NOW_MS + 10, true), (NOW_MS + 9, false)] {
        shop.clock.set_wall(wall_ms);
        let page = shop.get("/v1/sales/2", None).await;
        assert_eq!(page.status, if is_there { 200 } else { 404 }, "at {wall_ms}");
        assert!(is_there || page.body["detail"] == nothing.body["detail"], "{}", page.body);
        assert_eq!(ids(&shop.list("tenant=1").await), if is_there { vec![1, 2] } else { vec![1] }, "at {wall_ms}");
    }
}

/// Pages of a list go on where the one before ended, whatever happens to the sales in between; a
/// cursor is of its tenant's list alone.
#[tokio::test]
async fn a_list_goes_on_by_its_cursor() {
    let shop = Served::new(1);
    shop.publish((2..=45).map(sale).collect());
    let (mut seen, mut query, mut sizes) = (Vec::new(), "tenant=1".to_owned(), Vec::new());
    loop {
        let list = shop.list(&query).await;
        sizes.push(ids(&list).len());
        seen.extend(ids(&list));
        let Some(cursor) = list.body["next_cursor"].as_str() else { break };
        assert_eq!(cursor.len(), 64);
        for (bad, field) in [
            (format!("tenant=2&cursor={cursor}"), "cursor"),
            (format!("tenant=1&cursor={}", &cursor[1..]), "cursor"),
            ("tenant=0".to_owned(), "tenant"),
            ("limit=3".to_owned(), "tenant"),
            ("tenant=1&limit=101".to_owned(), "limit"),
        ] {
            let refused = shop.get(&format!("/v1/sales?{bad}"), None).await;
            let of = &refused.body["errors"][0]["field"];
            assert_eq!((refused.code(), of), ((400, "invalid_request"), &json!(field)), "{bad}");
        }
        query = format!("tenant=1&cursor={cursor}");
    }
    assert_eq!((sizes, &seen), (vec![20, 20, 5], &(1..=45).collect()));
    // More different pages than are kept.
    for limit in 1..=45 {
        let list = shop.list(&format!("tenant=1&limit={limit}")).await;
        assert_eq!(ids(&list), seen[..limit], "{limit}");
        assert_eq!(list.body["next_cursor"].is_string(), limit < 45);
    }
    assert_eq!(shop.page_metrics.lists_written.get(), 1);
}

/// Sales that ended a month ago are shown to nobody.
#[tokio::test]
async fn a_sale_that_is_long_over_is_not_found() {
    let (shop, window) = (Served::new(1), sale(1).window);
    let month = 30 * 24 * 3_600_000;
    shop.clock.set_wall(window.closes_at_ms + month - 1);
    assert_eq!(shop.says().await.0, "ended");
    assert_eq!(ids(&shop.list("tenant=1").await), [0; 0], "and listed for a week only");
    shop.clock.set_wall(window.closes_at_ms + month);
    assert_eq!(shop.get("/v1/sales/1", None).await.code(), (404, "not_found"));
    assert!(shop.directory.now().sale(SaleId::new(1).unwrap()).is_some(), "the directory has not noticed yet");
}
