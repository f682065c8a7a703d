//! Whom a sale's limits count, and whether it is for members.

use domain::sale::{Sale, SubjectKind};
use serde_json::json;

use super::{
    Served,
    testing::{self, NOW_MS},
};

/// Whose token does not fit the sale is told which one would; a repeat by a member of yesterday
/// gets its order.
#[tokio::test]
async fn a_sale_says_which_token_it_wants() {
    let shop = Served::new(3);
    let bought = shop.buy(1, "k").await;
    let publish = |version, limit_by, members_only| {
        let sale = Sale { version, limit_by, members_only, ..testing::sale(1) };
        shop.directory.take_in(vec![sale], NOW_MS);
    };
    publish(2, SubjectKind::Account, true);
    assert_eq!(shop.buy(2, "k").await.code(), (403, "members_only"));
    let again = shop.buy(1, "k").await;
    assert_eq!((again.status, again.body), (202, bought.body));
    let shown = shop.get("/v1/sales/1", None).await;
    assert_eq!((&shown.body["members_only"], shown.body.get("limit_by")), (&json!(true), None));
    for (version, counted) in [(3, SubjectKind::Phone), (4, SubjectKind::IdHash)] {
        publish(version, counted, false);
        let refused = shop.buy(1, "k").await;
        assert_eq!(refused.code(), (403, "wrong_subject"));
        let shown = shop.get("/v1/sales/1", None).await;
        assert_eq!((&shown.body["limit_by"], shown.body.get("members_only")), (&json!(counted.as_str()), None));
        let wanted = format!("come with a token by {}", counted.as_str());
        assert!(refused.body["detail"].as_str().unwrap().ends_with(&wanted), "{}", refused.body);
    }
}

/// At another price than the buyer saw nothing is bought, and the answer shows the price that
/// holds; a repeat of a known key gets its order whatever the price is by now.
#[tokio::test]
async fn a_purchase_may_say_at_which_price() {
    let shop = Served::new(3);
    let price = testing::sale(1).lanes[0].offers[0].price;
    let body = |amount: i64| {
        let expected = json!({ "amount": amount, "currency": price.currency.to_string() });
        json!({ "offer_id": testing::offer_id(1).to_string(), "quantity": 1, "expected_price": expected })
    };
    let bought = shop.post(&shop.tokens[1], "k", body(price.amount).to_string()).await;
    assert_eq!(bought.status, 202, "{}", bought.body);
    let refused = shop.post(&shop.tokens[2], "k", body(price.amount + 1).to_string()).await;
    assert_eq!(refused.code(), (409, "price_changed"));
    assert_eq!(refused.body["current"]["price"]["amount"], price.amount);
    let again = shop.post(&shop.tokens[1], "k", body(price.amount + 1).to_string()).await;
    assert_eq!((again.status, again.body), (202, bought.body));
}

/// What a page shows of a sale whose offers are stopped one by one.
#[tokio::test]
async fn a_page_tells_which_offer_is_stopped_and_what_holds_for_orders() {
    let shop = Served::new(3);
    let mut sale = Sale { version: 2, ..testing::sale(1) };
    sale.lanes[0].offers[0].paused = true;
    (sale.orders.payment_window_s, sale.orders.after_sale_days) = (900, 7);
    shop.directory.take_in(vec![sale.clone()], NOW_MS);
    assert_eq!(shop.buy(1, "k").await.code(), (409, "paused"));
    let page = shop.get("/v1/sales/1", None).await;
    assert_eq!((&page.body["offers"][0]["paused"], &page.body["state"]), (&json!(true), &json!("open")));
    assert_eq!((&page.body["payment_window_s"], &page.body["after_sale_days"]), (&json!(900), &json!(7)));
    (sale.version, sale.visible_from_ms) = (3, NOW_MS + 3_600_000);
    shop.directory.take_in(vec![sale], NOW_MS);
    assert_eq!(shop.get("/v1/sales/1", None).await.status, 404);
}
