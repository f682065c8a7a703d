//! The ports in process: every rule on lanes of its own.

use domain::{
    id::Epoch,
    stock::{LaneAnswer, LaneMode, RunId},
};
use store::stock::{LaneKeeping, LaneStock, LoadAtOnce, local::LocalStock};

use super::{
    rules::{self, every_rule, the_lane},
    sample::{buyer, call, fresh, request},
};

macro_rules! in_process {
    ($($rule:ident)*) => {$(
        #[tokio::test]
        async fn $rule() {
            let stock = LocalStock::new(RunId(1));
            rules::$rule(&stock, &stock.keeping()).await;
        }
    )*};
}

every_rule!(in_process);

/// R3: what a start finds is nothing. A lane that was open before is missing, which is closed, and
/// not sold out; the keeper opens it.
#[tokio::test]
async fn r3_a_start_closes_every_lane() {
    let load = fresh(1, &[5]);
    for (run, epoch) in [(1, 1), (2, 2)] {
        let stock = LocalStock::new(RunId(run));
        let keeping = stock.keeping();
        let asked = [request(10, 1, 1, 1, 1)];
        let before = stock.reserve(call(the_lane(), epoch, 10), &asked).await.unwrap();
        assert_eq!(before, LaneAnswer::Closed { epoch: Epoch(0) });
        assert_eq!(keeping.inspect(the_lane()).await.unwrap().mode, LaneMode::Missing);
        keeping.close(the_lane(), Epoch(epoch)).await.unwrap();
        keeping.load(the_lane(), Epoch(epoch), &load).await.unwrap();
        // Engine and keeper see one lane, whichever clone they hold.
        stock.clone().reserve(call(the_lane(), epoch, 10), &asked).await.unwrap();
        let LaneAnswer::Open(found) = stock.find(the_lane(), buyer(1)).await.unwrap() else { panic!("closed") };
        assert_eq!((found.len(), keeping.clone().journal(the_lane()).await.unwrap().len()), (1, 1));
    }
}
