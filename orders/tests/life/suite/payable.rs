//! Goal: a shop's people learn which providers take payments for it, if they may read payments.

use serde_json::json;

use super::rig::Rig;

const ROUTE: &str = "/v1/merchant/payment-accounts";

#[tokio::test]
async fn a_shop_learns_who_takes_payments_for_it_by_its_permission() {
    let rig = Rig::start().await;
    let shown = rig.get(ROUTE, "staff-7").await;
    assert_eq!(shown.expect(200), &json!({ "providers": ["simulated"] }));
    let refused = rig.get(ROUTE, "weak-7").await;
    let refused = refused.refused(403, "forbidden");
    assert!(refused["detail"].as_str().unwrap().contains("read_payments"), "{refused}");
    rig.get(ROUTE, "nobody").await.refused(401, "unauthenticated");
    rig.get(ROUTE, &rig.buyer_token(7, 1)).await.refused(401, "unauthenticated");
    rig.get(&format!("{ROUTE}?tenant=8"), "staff-7").await.refused(400, "invalid_request");
    rig.get(ROUTE, "staff-0").await.refused(404, "not_found");
}
