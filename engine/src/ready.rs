//! When this engine wants requests: the topic of sales was read to its end, a worker number is
//! held, and the lanes' server answered once. It decides nothing else.

use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use domain::id::{BuyerId, LaneId};
use kit::admin::Readiness;
use store::stock::LaneStock;

use crate::{metrics::Metrics, mint::LeaseWatch, sales::Directory};

/// Pause between two looks at the lanes' server at start.
const PROBE_EVERY: Duration = Duration::from_millis(250);

/// The conditions, and the probe that shows them.
pub struct Conditions {
    readiness: Readiness,
    directory: Arc<Directory>,
    metrics: Arc<Metrics>,
    sales_read: AtomicBool,
    stock_answered: AtomicBool,
    is_draining: AtomicBool,
    minting: Mutex<Result<(), &'static str>>,
}

impl Conditions {
    /// None is met yet.
    pub fn new(readiness: Readiness, directory: Arc<Directory>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            readiness,
            directory,
            metrics,
            sales_read: AtomicBool::new(false),
            stock_answered: AtomicBool::new(false),
            is_draining: AtomicBool::new(false),
            minting: Mutex::new(Err("no worker number yet")),
        })
    }

    /// The topic of sales was read to its end.
    pub fn sales_are_read(&self) {
        self.sales_read.store(true, Ordering::Release);
        self.report();
    }

    /// The lanes' server answered.
    pub fn stock_has_answered(&self) {
        self.stock_answered.store(true, Ordering::Release);
        self.report();
    }

    /// No more requests are wanted, whatever else holds.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Release);
        self.report();
    }

    fn report(&self) {
        let minting = self.minting.lock().unwrap_or_else(PoisonError::into_inner);
        let missing: Option<Cow<'static, str>> = if self.is_draining.load(Ordering::Acquire) {
            Some("draining".into())
        } else if !self.sales_read.load(Ordering::Acquire) {
            Some("the sales are not read yet".into())
        } else if !self.stock_answered.load(Ordering::Acquire) {
            Some("the stock server has not answered yet".into())
        } else {
            minting.err().map(Into::into)
        };
        match missing {
            None => self.readiness.ready(),
            Some(why) => self.readiness.not_ready(why),
        }
    }
}

impl LeaseWatch for Arc<Conditions> {
    fn fleet(&self, engines: u32) {
        self.metrics.engines_live.set(engines.into());
        self.directory.share_among(engines);
    }

    fn minting(&self, minting: Result<(), &'static str>) {
        *self.minting.lock().unwrap_or_else(PoisonError::into_inner) = minting;
        self.report();
    }
}

/// Asks the lanes' server for anything until it answers. What it says of a lane that need not exist
/// does not matter.
pub async fn probe_stock<S: LaneStock>(stock: S, conditions: Arc<Conditions>) {
    let (Ok(lane), Ok(buyer)) = (LaneId::new(1), BuyerId::new(1)) else { return };
    while let Err(error) = stock.find(lane, buyer).await {
        tracing::debug!(%error, "the stock server does not answer yet");
        tokio::time::sleep(PROBE_EVERY).await;
    }
    conditions.stock_has_answered();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn ready_only_when_everything_is_there_and_never_while_draining() {
        let readiness = Readiness::new();
        let conditions = Conditions::new(readiness.clone(), testing::directory(), testing::metrics());
        conditions.sales_are_read();
        conditions.stock_has_answered();
        assert!(!readiness.has_started());
        conditions.minting(Ok(()));
        assert!(readiness.is_ready());
        conditions.minting(Err("the worker number was lost"));
        assert!(!readiness.is_ready());
        assert_eq!(readiness.reason(), "the worker number was lost");
        conditions.minting(Ok(()));
        conditions.drain();
        assert_eq!((readiness.is_ready(), readiness.reason().as_ref()), (false, "draining"));
        conditions.minting(Ok(()));
        assert!(!readiness.is_ready());
    }
}
