//! The housekeeping: the answers of old requests go, batch by batch.

use std::time::Duration;

use bytes::Bytes;
use catalog::house;
use serde_json::json;
use store::sql::{Sql as _, Tx as _};

use super::rig::{OPERATOR, Rig};

async fn kept(rig: &Rig) -> i64 {
    rig.db.rows("SELECT COUNT(*) FROM requests", vec![]).await.unwrap().remove(0).int().unwrap()
}

#[tokio::test]
async fn an_answer_is_kept_for_a_day() {
    let rig = Rig::start().await;
    let shop = json!({ "code": "kettles", "name": "Kettles", "plan": "free" });
    let make = || rig.post("/v1/tenants").token(OPERATOR).key("a").json(&shop).send();
    make().await.expect(201);
    rig.clock.advance(Duration::from_secs(24 * 3_600));
    house::put_in_order(&rig.catalog).await;
    make().await.expect(201);
    rig.clock.advance(Duration::from_millis(1));
    house::put_in_order(&rig.catalog).await;
    assert_eq!(kept(&rig).await, 0);
    make().await.refused(409, "conflict");
}

#[tokio::test]
async fn more_answers_than_a_batch_has_go_and_young_ones_stay() {
    let rig = Rig::start().await;
    rig.tenant("kettles").await;
    let mut tx = rig.db.begin().await.unwrap();
    let insert = "INSERT INTO requests (tenant, actor, request_key, asked, status, location, reply, answered_at) \
                  VALUES (1, 'key:1', ?, ?, 200, '', ?, ?)";
    for number in 0..1_100_i64 {
        // Many of one moment: a batch ends with all of them.
        let answered_at = number / 700;
        let values =
            vec![number.to_string().as_str().into(), Bytes::new().into(), Bytes::new().into(), answered_at.into()];
        tx.exec(insert, values).await.unwrap();
    }
    tx.commit().await.unwrap();
    house::put_in_order(&rig.catalog).await;
    assert_eq!(kept(&rig).await, 1);
}
