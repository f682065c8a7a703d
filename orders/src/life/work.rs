//! What is done beside the requests: attempts are looked at, refunds get their turns, orders
//! expire. Each thing is taken by compare-and-set, so that any number of processes may do it, and
//! one that dies is gone on from.

use std::{sync::Arc, time::Duration};

use domain::shard::ShardId;
use store::sql::stored;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{attempts, expiry::Expiry, ports::Kinds, refunds, refused::Refused, service::Life};
use crate::payment::{ProviderKind, pacer::Pace};

/// How often it is looked whose time has come.
const LOOK: Duration = Duration::from_millis(500);
/// Between two pieces of a job: buyers come first.
const PAUSE: Duration = Duration::from_millis(20);
/// Attempts of a shard that are looked at side by side.
const SIDE_BY_SIDE: u32 = 16;

/// How often buyers are forgotten who did not ask lately.
const FORGET_EVERY: Duration = Duration::from_secs(5);

/// Works until `stop`.
pub async fn work<K: Kinds>(life: Arc<Life<K>>, stop: CancellationToken) {
    let mut shards = JoinSet::new();
    let (asked, stopped) = (Arc::clone(&life), stop.clone());
    shards.spawn(async move {
        while stopped.run_until_cancelled(tokio::time::sleep(FORGET_EVERY)).await.is_some() {
            asked.rates().forget_idle();
        }
    });
    shards.spawn(cancel(Arc::clone(&life), stop.clone()));
    shards.spawn(meet(Arc::clone(&life), stop.clone()));
    for shard in (0..life.orders().map().shards()).map(ShardId) {
        shards.spawn(expire(Arc::clone(&life), shard, stop.clone()));
        shards.spawn(ask(Arc::clone(&life), shard, stop.clone()));
        shards.spawn(hand_over(Arc::clone(&life), shard, stop.clone()));
    }
    while shards.join_next().await.is_some() {}
}

async fn expire<K: Kinds>(life: Arc<Life<K>>, shard: ShardId, stop: CancellationToken) {
    let mut expiry = Expiry::new(&life, shard);
    while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        if let Err(error) = expiry.run(&life).await {
            tracing::warn!(shard = shard.0, %error, "expiry failed; it goes on from here");
        }
        if let Err(error) = complete(&life, shard).await {
            tracing::warn!(shard = shard.0, %error, "completing orders failed; it is done again");
        }
        if let Err(error) = life.cancel_wished(shard).await {
            tracing::warn!(shard = shard.0, %error, "cancelling what was called off early failed; it is done again");
        }
    }
}

async fn complete<K: Kinds>(life: &Life<K>, shard: ShardId) -> Result<(), Refused> {
    while life.complete_due(shard).await? {}
    Ok(())
}

/// Goes on with the jobs that cancel orders.
async fn cancel<K: Kinds>(life: Arc<Life<K>>, stop: CancellationToken) {
    let mut pieces = 0;
    while stop.run_until_cancelled(tokio::time::sleep(if pieces > 0 { PAUSE } else { LOOK })).await.is_some() {
        pieces = life.cancel_piece().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "cancelling orders in bulk failed; it goes on from there");
            0
        });
    }
}

/// Meets buyers who let orders expire.
async fn meet<K: Kinds>(life: Arc<Life<K>>, stop: CancellationToken) {
    let mut looked = 0;
    while stop.run_until_cancelled(tokio::time::sleep(if looked > 0 { PAUSE } else { LOOK })).await.is_some() {
        looked = life.meet_hoarders().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "looking for buyers who let orders expire failed; it goes on from there");
            0
        });
    }
}

async fn hand_over<K: Kinds>(life: Arc<Life<K>>, shard: ShardId, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        if let Err(error) = tell_shippings(&life, shard).await {
            tracing::warn!(shard = shard.0, %error, "telling that goods were sent failed; it is done again");
        }
        if let Err(error) = life.hand_over(shard).await {
            tracing::warn!(shard = shard.0, %error, "giving redeem codes failed; it is done again");
        }
    }
}

async fn tell_shippings<K: Kinds>(life: &Life<K>, shard: ShardId) -> Result<(), Refused> {
    life.upload_due(shard).await?;
    life.count_near_limit(shard).await.map(drop)
}

async fn ask<K: Kinds>(life: Arc<Life<K>>, shard: ShardId, stop: CancellationToken) {
    loop {
        let woken = async {
            tokio::select! {
                () = life.wake().notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        };
        if stop.run_until_cancelled(woken).await.is_none() {
            return;
        }
        // Full is not all: a sale leaves thousands that end in one moment.
        let looked = async {
            while life.look_at_attempts(shard).await? >= SIDE_BY_SIDE as usize {}
            Ok(())
        };
        if let Err::<(), Refused>(error) = looked.await {
            tracing::warn!(shard = shard.0, %error, "looking at attempts to pay failed; it is done again");
        }
        if let Err(error) = life.give_turns(shard).await {
            tracing::warn!(shard = shard.0, %error, "refunding failed; it is done again");
        }
    }
}

impl<K: Kinds> Life<K> {
    /// Looks at the attempts of a shard whose time has come, some side by side. How many.
    ///
    /// # Errors
    /// [`Refused`] when a database fails.
    pub async fn look_at_attempts(self: &Arc<Self>, shard: ShardId) -> Result<usize, Refused> {
        let now = stored(self.now_ms())?;
        let found = self.orders().beside(shard, &attempts::due(), vec![now.into(), SIDE_BY_SIDE.into()]).await?;
        let (found, mut looks) = (attempts::read_all(found)?, JoinSet::new());
        let count = found.len();
        for attempt in found {
            let until = stored(self.now_ms() + attempts::CLAIMED_MS)?;
            let (order, number) = (attempt.order.stored().into(), attempt.attempt.into());
            let claim = vec![until.into(), order, number, attempts::time(attempt.next_ms)?];
            if self.orders().change_beside(shard, attempts::CLAIM, claim).await? == 1 {
                let life = Arc::clone(self);
                looks.spawn(async move { life.look(&attempt).await });
            }
        }
        while let Some(looked) = looks.join_next().await {
            if let Ok(Err(error)) = looked {
                tracing::warn!(%error, "an attempt to pay could not be looked at; it is looked at again");
            }
        }
        Ok(count)
    }

    /// Gives the refunds of a shard their turns, at the pace of the account in all shards. How
    /// many.
    ///
    /// # Errors
    /// [`Refused`] when a database fails.
    pub async fn give_turns(self: &Arc<Self>, shard: ShardId) -> Result<usize, Refused> {
        let per_s = ProviderKind::ALL.into_iter().filter_map(Pace::of).map(|pace| pace.account_per_s).min();
        let looks_per_s = 2 * u64::from(self.orders().map().shards());
        let limit = i64::try_from((per_s.unwrap_or(1) / looks_per_s).max(1)).unwrap_or(1);
        let now = stored(self.now_ms())?;
        let found = self.orders().beside(shard, &refunds::due(), vec![now.into(), limit.into()]).await?;
        let (found, mut turns) = (refunds::read_all(found)?, JoinSet::new());
        let count = found.len();
        for refund in found {
            let life = Arc::clone(self);
            turns.spawn(async move { life.give_turn(&refund).await });
        }
        while let Some(turn) = turns.join_next().await {
            if let Ok(Err(error)) = turn {
                tracing::warn!(%error, "a refund could not have its turn; it comes again");
            }
        }
        Ok(count)
    }
}
