//! Fault 25: what stands in the keys of one lane is the fault of that lane: it is closed and
//! rebuilt by itself, and its partition goes on.

use domain::{id::Epoch, order::Status, stock::LaneMode};
use store::stock::LaneKeeping;

use super::rig::{Rig, until};

/// R3: each key of another type, as an operator's slip leaves it; in the middle of a sale, with a
/// release to settle.
#[tokio::test]
async fn r3_a_lane_with_a_broken_key_is_rebuilt_without_a_hand() {
    let rig = Rig::open(100, 1).await;
    let mut redis = rig.redis().await;
    for (epoch, part) in (1..).zip(["state", "buyers", "journal", "due"]) {
        let key = format!("{}:{{{}}}:{part}", rig.namespace, rig.lane);
        let first = 10 * epoch;
        let promises = rig.buy(Epoch(epoch), &[first, first + 1]).await;
        rig.until_row(promises[1].order).await;
        redis::cmd("SET").arg(&key).arg("oops").exec_async(&mut redis).await.unwrap();
        rig.cancel(&[promises[0].order]).await;
        let next = Epoch(epoch + 1);
        until("the lane is rebuilt", || async {
            rig.keeping.inspect(rig.lane).await.is_ok_and(|view| view.mode == LaneMode::Open { epoch: next })
        })
        .await;
        rig.until_at_rest(epoch).await;
        assert_eq!(rig.row(promises[1].order).await.unwrap().status, Status::PendingPayment, "{part}");
        let kept: String = redis::cmd("GET").arg(format!("{key}:damaged")).query_async(&mut redis).await.unwrap();
        assert_eq!(kept, "oops");
        redis::cmd("DEL").arg(format!("{key}:damaged")).exec_async(&mut redis).await.unwrap();
    }
    assert!(!rig.has_halted(), "the partition waited for nobody");
    rig.close().await;
}
