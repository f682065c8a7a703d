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
