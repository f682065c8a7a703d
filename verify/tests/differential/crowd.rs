//! The concurrent scripts: several buyers at once on one lane. What each is answered is not known
//! before, but it must be what the pure machine says when it is asked the same in the order in
//! which the lane answered.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::id::OrderId;
use engine::{
    orders::{OrderState, Unseen},
    purchase::{Bought, Declined},
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    model::Wish,
    outcome::Reply,
    parts::{PATIENCE, Parts, Stores},
    runner::{buy, cancel, look, token},
    seed::{BUYERS, Random, Seed},
};

/// Pause between two looks at an order: buyers may look fifty times a second.
const LOOK_AGAIN: Duration = Duration::from_millis(40);

/// The purchases of a task are numbered from a multiple of this on, in their order.
pub(crate) const TASK: u64 = 100;

/// What one of the crowd does, one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Move {
    pub(crate) wish: Wish,
    /// Waits for the row and cancels, if something was bought.
    cancels: bool,
}

/// A purchase of a crowd, and what its buyer was answered.
#[derive(Debug, Clone)]
pub(crate) struct Bid {
    pub(crate) wish: Wish,
    pub(crate) outcome: Result<Bought, Declined>,
    pub(crate) cancel: Option<Reply>,
}

/// The crowd of a seed: so many tasks with so many moves each.
pub(crate) fn crowd(shop: &Seed) -> Vec<Vec<Move>> {
    let mut random = Random::new(shop.seed, 3);
    let offers = u8::try_from(shop.offers.len()).unwrap();
    let tasks = random.within(3, 6);
    let mut one = |_| Move {
        wish: Wish {
            buyer: random.within(0, BUYERS - 1),
            offer: random.within(0, offers - 1),
            quantity: random.within(1, 2).into(),
            // Few keys, so that repeats and mismatches meet.
            key: random.within(0, 2),
        },
        cancels: random.below(4) == 0,
    };
    (0..tasks).map(|_| (0..6).map(&mut one).collect()).collect()
}

/// Runs the crowd of a seed. Every purchase carries its number, the key of what comes back, as its
/// context.
pub(crate) async fn run<S: Stores>(parts: &Arc<Parts<S>>, shop: &Seed) -> HashMap<u64, Bid> {
    let mut running = JoinSet::new();
    for (task, moves) in (0u64..).zip(crowd(shop)) {
        let (parts, shop) = (Arc::clone(parts), shop.clone());
        running.spawn(async move {
            let mut bids = Vec::new();
            for (number, next) in (TASK * task..).zip(moves) {
                bids.push((number, bid(&parts, &shop, number, next).await));
            }
            bids
        });
    }
    running.join_all().await.into_iter().flatten().collect()
}

/// The context of the purchase with this number.
fn context(number: u64) -> Bytes {
    format!("{{\"bid\":{number}}}").into()
}

/// The number in a context.
pub(crate) fn number_in(context: &[u8]) -> Option<u64> {
    std::str::from_utf8(context).ok()?.strip_prefix("{\"bid\":")?.strip_suffix('}')?.parse().ok()
}

async fn bid<S: Stores>(parts: &Parts<S>, shop: &Seed, number: u64, next: Move) -> Bid {
    let Move { wish, cancels } = next;
    let token = token(parts, shop, wish.buyer);
    let outcome = buy(parts, shop, wish, &token, context(number)).await;
    let cancel = match outcome {
        Ok(bought) if cancels => Some(cancel_when_there(parts, shop, bought.order, wish).await),
        _ => None,
    };
    Bid { wish, outcome, cancel }
}

async fn cancel_when_there<S: Stores>(parts: &Parts<S>, shop: &Seed, order: OrderId, wish: Wish) -> Reply {
    let there = timeout(PATIENCE, async {
        loop {
            match look(parts, shop, order, wish).await {
                Ok(view) if view.state != OrderState::Pending => return Ok(()),
                Ok(_) | Err(Unseen::TooOften(_) | Unseen::Overloaded) => sleep(LOOK_AGAIN).await,
                Err(other) => return Err(Reply::Unexpected(format!("{other:?}"))),
            }
        }
    });
    match there.await {
        Ok(Ok(())) => cancel(parts, order).await,
        Ok(Err(unexpected)) => unexpected,
        Err(_) => Reply::Unexpected(format!("no row of {order}")),
    }
}
