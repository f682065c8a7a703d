//! One seed's buyer of everything: runs steps on a deployment and tells what came back.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use domain::{
    id::OrderId,
    sale::Sale,
    stock::{LaneMode, LaneView},
};
use engine::{
    hint::HINT_MS_MAX,
    orders::{OrderView, Unseen},
    purchase::{Bought, Caller, Declined, Purchase, Quantity},
};
use kit::{clock::Clock, token::BuyerClaims};
use order_writer::desk;
use store::{
    ledger::OfferRow,
    log::{OrderLog, SalesPublisher},
    stock::LaneKeeping,
};
use tokio::time::{sleep, timeout};

use super::{
    model::Wish,
    outcome::{Orders, Reply},
    parts::{PATIENCE, Parts, Stores},
    script::Step,
    seed::Seed,
};

/// Pause between two questions.
const AGAIN: Duration = Duration::from_millis(5);
const DAY_MS: u64 = 86_400_000;

/// A seed on one deployment.
pub(crate) struct ScriptRunner {
    pub(crate) shop: Seed,
    pub(crate) orders: Orders,
    pub(crate) replies: Vec<Reply>,
    /// Whose each order is, and of which offer.
    wishes: HashMap<usize, Wish>,
    tokens: HashMap<u8, String>,
}

impl ScriptRunner {
    pub(crate) fn new(shop: Seed) -> Self {
        Self { shop, orders: Orders::default(), replies: Vec::new(), wishes: HashMap::new(), tokens: HashMap::new() }
    }

    pub(crate) async fn run<S: Stores>(&mut self, parts: &Parts<S>, steps: &[Step]) {
        for &step in steps {
            let reply = self.step(parts, step).await;
            self.replies.push(reply);
        }
    }

    async fn step<S: Stores>(&mut self, parts: &Parts<S>, step: Step) -> Reply {
        match step {
            Step::Buy(wish) => self.buy(parts, wish).await,
            Step::Tick | Step::Restart => {
                // Units may be back, and to refuse them for a while is an engine's right.
                parts.clock.skip(HINT_MS_MAX + 1);
                rest(parts, &self.shop).await.map_or_else(Reply::Unexpected, |view| Reply::at_rest(&view))
            }
            Step::Publish { version, units } => {
                parts.clock.skip(HINT_MS_MAX + 1);
                publish(parts, &self.shop.with_units(units), version).await.unwrap_or_else(Reply::Unexpected)
            }
            Step::Cancel { order } => match self.orders.id(order) {
                Some(order) => cancel(parts, order).await,
                None => no_such(order),
            },
            Step::Look { order } => match (self.orders.id(order), self.wishes.get(&order).copied()) {
                (Some(order), Some(wish)) => {
                    let seen = look(parts, &self.shop, order, wish).await;
                    Reply::of_status(seen.map(|view| view.state))
                }
                _ => no_such(order),
            },
            Step::Redeliver { order, release } => match self.orders.id(order) {
                Some(order) => redeliver(parts, &self.shop, order, release).await,
                None => no_such(order),
            },
        }
    }

    async fn buy<S: Stores>(&mut self, parts: &Parts<S>, wish: Wish) -> Reply {
        let shop = &self.shop;
        let token = self.tokens.entry(wish.buyer).or_insert_with(|| token(parts, shop, wish.buyer));
        let outcome = buy(parts, shop, wish, token, Bytes::new()).await;
        let reply = Reply::of_purchase(outcome, &mut self.orders);
        if let Reply::Bought { order, .. } = reply {
            self.wishes.entry(order).or_insert(wish);
        }
        reply
    }
}

fn no_such(order: usize) -> Reply {
    Reply::Unexpected(format!("no reply named order {order}"))
}

/// A buyer's token.
pub(crate) fn token<S: Stores>(parts: &Parts<S>, shop: &Seed, buyer: u8) -> String {
    let now_ms = parts.clock.now_ms();
    let tenant = shop.tenant.number();
    let claims = BuyerClaims::new(tenant, shop.buyer(buyer).get(), now_ms + DAY_MS);
    parts.signer.sign(&claims, now_ms).unwrap()
}

/// A purchase, on the front thread of its buyer. Asked again while the parts are overloaded: that
/// answer says that nothing was done, and hundreds of shops share the bounds of one engine here.
pub(crate) async fn buy<S: Stores>(
    parts: &Parts<S>,
    shop: &Seed,
    wish: Wish,
    token: &str,
    context: Bytes,
) -> Result<Bought, Declined> {
    let key = wish.key();
    let (offer, quantity) = (shop.offer(wish.offer), Quantity::new(wish.quantity).unwrap());
    let begun = std::time::Instant::now();
    loop {
        let purchase =
            Purchase { token: Some(token), offer, quantity, key: &key, context: context.clone(), expected_price: None };
        match parts.fronts[usize::from(wish.buyer) % parts.fronts.len()].buy(purchase).await {
            Err(Declined::Overloaded) if begun.elapsed() < PATIENCE => sleep(AGAIN).await,
            answer => return answer,
        }
    }
}

/// What the buyer of this wish is answered about an order.
pub(crate) async fn look<S: Stores>(
    parts: &Parts<S>,
    shop: &Seed,
    order: OrderId,
    wish: Wish,
) -> Result<OrderView, Unseen> {
    let caller = Caller { tenant: shop.tenant, buyer: shop.buyer(wish.buyer) };
    parts.orders.status(caller, order, Some(shop.offer(wish.offer))).await
}

pub(crate) async fn cancel<S: Stores>(parts: &Parts<S>, order: OrderId) -> Reply {
    let databases = parts.stores.databases();
    Reply::of_cancel(desk::cancel(&databases.orders, &databases.ledger, order).await)
}

/// The same record again, as a sweeper or a relay would append it.
async fn redeliver<S: Stores>(parts: &Parts<S>, shop: &Seed, order: OrderId, release: bool) -> Reply {
    let Some(record) = parts.notes.record(order, release) else {
        return Reply::Unexpected(format!("no record of {order} was appended"));
    };
    let appended = async {
        let Some(room) = parts.log.room() else { return Reply::Unexpected("the log has no room".into()) };
        match parts.log.append(shop.partition, record, room).await {
            Ok(_) => Reply::Redelivered,
            Err(error) => Reply::Unexpected(error.to_string()),
        }
    };
    appended.await
}

/// Publishes a version of the sale, and waits until lane and ledger have followed it.
async fn publish<S: Stores>(parts: &Parts<S>, shop: &Seed, version: u32) -> Result<Reply, String> {
    rest(parts, shop).await?;
    let sale = Sale { version, ..shop.to_sale(parts.clock.now_ms()) };
    parts.stores.log().publish(&sale).await.map_err(|error| error.to_string())?;
    let ledger = &parts.stores.databases().ledger;
    let followed = timeout(PATIENCE, async {
        loop {
            let (row, view) = (ledger.lane(shop.lane).await, parts.keeping.inspect(shop.lane).await);
            if let (Ok(Some(row)), Ok(view)) = (row, view) {
                let is_applied = |known: &OfferRow| {
                    view.offers.contains(&(known.offer, known.allotment - known.sold, known.allotment))
                };
                if row.offers.iter().all(|known| known.sale_version == version && is_applied(known)) {
                    return;
                }
            }
            sleep(AGAIN).await;
        }
    });
    followed.await.map_err(|_| format!("version {version} of {} is not followed", shop.sale))?;
    rest(parts, shop).await.map(|view| Reply::at_rest(&view))
}

/// Waits until all that was appended before is decided, no release is under way, the lane is not to
/// be rebuilt, and it is open with an empty journal.
pub(crate) async fn rest<S: Stores>(parts: &Parts<S>, shop: &Seed) -> Result<LaneView, String> {
    let need = parts.notes.next(shop.partition);
    let partition = usize::try_from(shop.partition.0).unwrap();
    let mut seen = parts.seen.clone();
    // The look under way may have begun before this moment, the one after it not.
    let from = seen.borrow().number + 2;
    let mut last = String::new();
    let rested = timeout(PATIENCE, async {
        loop {
            let is_decided = seen.wait_for(|seen| {
                let is_settled = !seen.releasing.contains(&shop.lane) && !seen.distrusted.contains(&shop.lane);
                seen.number >= from && seen.decided[partition] >= need && is_settled
            });
            assert!(is_decided.await.is_ok(), "somebody looks as long as the parts are held");
            match parts.keeping.inspect(shop.lane).await {
                Ok(view) if matches!(view.mode, LaneMode::Open { .. }) && view.journal_len == 0 => return view,
                other => last = format!("{other:?}"),
            }
            sleep(AGAIN).await;
        }
    });
    let rested = rested.await;
    rested.map_err(|_| format!("not at rest: {need} needed, seen {:?}, lane {last}", seen.borrow().decided))
}
