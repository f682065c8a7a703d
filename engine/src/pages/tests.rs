//! Goal: a page is right within a second at any time, is written once a change, and its readers
//! share it. Method: a shop on a clock that moves by hand; what was written and which lanes were
//! asked is counted.

use std::time::Duration;

use domain::{
    id::{LaneId, OfferId},
    sale::Sale,
};

use super::*;
use crate::testing::{Fault, NOW_MS, Shop, sale};

/// What a page says of its state and of the stock of its offers.
async fn says(pages: &Pages, shop: &Shop, of: u64) -> (String, Vec<Option<String>>) {
    let page = page(pages, shop, of).await;
    let body: serde_json::Value = serde_json::from_slice(&page.body).unwrap();
    let offers = body["offers"].as_array().unwrap();
    let stock = offers.iter().map(|offer| offer["stock"].as_str().map(str::to_owned)).collect();
    (body["state"].as_str().unwrap().to_owned(), stock)
}

async fn page(pages: &Pages, shop: &Shop, of: u64) -> Arc<Page> {
    let promotion = Arc::clone(shop.directory.now().sale(SaleId::new(of).unwrap()).unwrap());
    pages.of(&promotion, Moment::of(&shop.clock)).await.unwrap()
}

async fn stock(pages: &Pages, shop: &Shop) -> Option<String> {
    says(pages, shop, 1).await.1.remove(0)
}

fn some(word: &str) -> Option<String> {
    Some(word.to_owned())
}

/// A sale of so many offers, as many in a lane as fit.
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

/// Nobody buys, the page is not asked for, and an hour later it is right all the same: also when
/// the stock moved meanwhile.
#[tokio::test]
async fn a_page_at_rest_says_what_the_lane_says() {
    let shop = Shop::new(1);
    let pages = shop.pages();
    assert_eq!(stock(&pages, &shop).await, some("low"));
    shop.buy(1, "k", 1).await.unwrap();
    shop.clock.advance(Duration::from_secs(1));
    for rest in [12, 60, 600] {
        shop.clock.advance(Duration::from_secs(rest));
        assert_eq!(stock(&pages, &shop).await, some("sold_out"), "{rest} idle seconds later");
    }
    shop.stock.open(1, 2, 500);
    shop.clock.advance(Duration::from_secs(1));
    assert_eq!(stock(&pages, &shop).await, some("available"), "a cancellation or a rebuild");
}

/// A restart: this engine never sold anything, and knows that it is sold out.
#[tokio::test]
async fn a_page_after_a_restart_says_what_the_lane_says() {
    let shop = Shop::new(0);
    assert_eq!(stock(&shop.pages(), &shop).await, some("sold_out"));
}

/// What is not known is left out: before the lane is open, and when it has not answered for long.
#[tokio::test]
async fn stock_that_nobody_knows_is_not_shown() {
    let shop = Shop::new(0);
    let pages = shop.pages();
    shop.stock.restart();
    assert_eq!(stock(&pages, &shop).await, None);
    shop.stock.open(1, 2, 0);
    shop.clock.advance(Duration::from_secs(1));
    assert_eq!(stock(&pages, &shop).await, some("sold_out"));
    shop.stock.restart();
    shop.clock.advance(Duration::from_secs(1));
    assert_eq!(stock(&pages, &shop).await, some("sold_out"), "it is being rebuilt");
    shop.clock.advance(Duration::from_secs(10));
    assert_eq!(stock(&pages, &shop).await, None);
    shop.stock.fail(&[Fault::LoseCall]);
    shop.stock.open(1, 3, 0);
    shop.clock.advance(Duration::from_secs(1));
    assert_eq!(stock(&pages, &shop).await, None, "an answer that was lost tells nothing");
    shop.clock.advance(Duration::from_secs(1));
    assert_eq!(stock(&pages, &shop).await, some("sold_out"));
}

/// The state changes by the clock alone, at the very millisecond, and the tag with it; nothing else
/// does.
#[tokio::test]
async fn the_state_is_part_of_the_tag_and_time_is_not() {
    let shop = Shop::new(10);
    let (pages, window) = (shop.pages(), sale(1).window);
    let mut tags = Vec::new();
    for (wall_ms, state) in [
        (window.opens_at_ms - 1, "not_started"),
        (window.opens_at_ms, "open"),
        (window.closes_at_ms - 1, "open"),
        (window.closes_at_ms, "ended"),
    ] {
        shop.clock.set_wall(wall_ms);
        assert_eq!(says(&pages, &shop, 1).await.0, state, "at {wall_ms}");
        tags.push(page(&pages, &shop, 1).await.tag.clone());
    }
    assert!(tags[0] != tags[1] && tags[1] == tags[2] && tags[2] != tags[3], "{tags:?}");
    shop.clock.set_wall(NOW_MS);
    let mut paused = sale(1);
    (paused.version, paused.paused) = (2, true);
    shop.directory.take_in(vec![paused], NOW_MS);
    assert_eq!(says(&pages, &shop, 1).await.0, "paused", "a publication is shown at once");
}

/// Fault 13: however many read it, a page of 11,700 offers is written once a change, and its bytes
/// are there once.
#[tokio::test]
async fn a_large_page_is_written_once_and_shared_by_its_readers() {
    let shop = Shop::new(10);
    shop.directory.take_in(vec![large(11_700)], NOW_MS);
    let pages = shop.pages();
    let first = page(&pages, &shop, 7).await;
    assert!(first.body.len() > 1 << 20, "{} bytes", first.body.len());
    let asked = shop.stock.inspected();
    assert_eq!(asked, 11_700_usize.div_ceil(64), "one question a lane");
    for _ in 0..1_000 {
        let again = page(&pages, &shop, 7).await;
        assert_eq!(again.body.as_ptr(), first.body.as_ptr());
    }
    assert_eq!((shop.metrics.pages_written.get(), shop.stock.inspected()), (1, asked));
    for second in 0..10 {
        shop.clock.advance(Duration::from_secs(1));
        assert_eq!(page(&pages, &shop, 7).await.body.as_ptr(), first.body.as_ptr(), "{second}: nothing changed");
    }
    assert_eq!(shop.metrics.pages_written.get(), 1);
}

/// The lane that sells tells its stock with each answer; the page adds no question to it.
#[tokio::test]
async fn a_lane_that_sells_is_not_asked() {
    let shop = Shop::new(100);
    let pages = shop.pages();
    for buyer in 1..=20 {
        shop.clock.advance(Duration::from_millis(CHECKED_MS_MAX + 1));
        shop.buy(buyer, "k", 1).await.unwrap();
        assert_eq!(stock(&pages, &shop).await, some("low"));
    }
    assert_eq!(shop.stock.inspected(), 0);
}

/// Versions of a page that clients hold by not reading them are bounded: then its stock waits, its
/// state does not.
#[tokio::test]
async fn a_page_that_clients_hold_is_not_written_without_end() {
    let board = Board::default();
    let held: Vec<Bytes> = (0..3).map(|_| board.keep(vec![0; HELD_BYTES_MAX / 2 + 1])).collect();
    assert!(board.is_held());
    drop(held);
    assert!(!board.is_held());
    let shop = Shop::new(10);
    let pages = shop.pages();
    assert_eq!(stock(&pages, &shop).await, some("low"));
    let board = pages.board(SaleId::new(1).unwrap());
    let held: Vec<Bytes> = (0..3).map(|_| board.keep(vec![0; HELD_BYTES_MAX / 2 + 1])).collect();
    shop.stock.open(1, 2, 0);
    shop.clock.advance(Duration::from_secs(1));
    assert_eq!(stock(&pages, &shop).await, some("low"));
    shop.clock.set_wall(sale(1).window.closes_at_ms);
    assert_eq!(says(&pages, &shop, 1).await, ("ended".into(), vec![some("sold_out")]));
    drop(held);
}
