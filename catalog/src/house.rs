//! What is done beside the requests, one thing after the other: counts are written, what is old is
//! deleted. A thing that failed is done again when its time comes.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use kit::clock::Clock as _;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    actions, alarms::Alarm, buyers, change, copies, funnel, people, ports::Ports, refused::Refused, sales,
    service::Catalog, stock, usage,
};

/// How often it is looked whose time has come.
const LOOK: Duration = Duration::from_secs(1);

type Doing<'a> = Pin<Box<dyn Future<Output = Result<(), Refused>> + Send + 'a>>;

/// A thing to be done again and again.
struct Chore<P: Ports> {
    name: &'static str,
    every: Duration,
    /// Whether it is done once more when the service ends: what it writes would be lost.
    is_last: bool,
    work: for<'a> fn(&'a Catalog<P>) -> Doing<'a>,
}

/// All of them.
fn chores<P: Ports>() -> Vec<Chore<P>> {
    let (seconds, minutes) = (Duration::from_secs, Duration::from_mins);
    vec![
        Chore { name: "usage", every: seconds(5), is_last: true, work: |catalog| Box::pin(usage::write(catalog)) },
        Chore { name: "key uses", every: seconds(5), is_last: true, work: |catalog| Box::pin(key_uses(catalog)) },
        Chore {
            name: "old requests",
            every: minutes(1),
            is_last: false,
            work: |catalog| Box::pin(change::purge(catalog)),
        },
        Chore { name: "people", every: minutes(1), is_last: false, work: |catalog| Box::pin(people::tidy(catalog)) },
        Chore {
            name: "old codes",
            every: minutes(1),
            is_last: false,
            work: |catalog| Box::pin(buyers::purge(catalog)),
        },
        Chore { name: "copies", every: copies::EVERY, is_last: false, work: |catalog| Box::pin(copies::make(catalog)) },
        Chore { name: "stock", every: seconds(1), is_last: false, work: |catalog| Box::pin(stock::keep(catalog)) },
        Chore { name: "funnel", every: minutes(1), is_last: false, work: |catalog| Box::pin(funnel::purge(catalog)) },
        Chore { name: "sales", every: seconds(1), is_last: false, work: |catalog| Box::pin(sales::keep(catalog)) },
        Chore { name: "alarms", every: seconds(5), is_last: false, work: |catalog| Box::pin(alarms(catalog)) },
        Chore {
            name: "scheduled actions",
            every: seconds(1),
            is_last: false,
            work: |catalog| Box::pin(actions::keep(catalog)),
        },
    ]
}

async fn key_uses<P: Ports>(catalog: &Catalog<P>) -> Result<(), Refused> {
    Ok(catalog.memory().key_uses.write(catalog.sql()).await?)
}

/// Counts what alarms show.
async fn alarms<P: Ports>(catalog: &Catalog<P>) -> Result<(), Refused> {
    catalog.alarms().look(catalog.sql(), catalog.clock().now_ms()).await
}

/// Does each thing once, now.
pub async fn put_in_order<P: Ports>(catalog: &Catalog<P>) {
    for chore in chores() {
        chore.carry_out(catalog).await;
    }
}

/// Keeps house until `stop`, which comes after the last request, then writes what waits. Every
/// process of the service does it.
pub async fn keep_house<P: Ports>(catalog: Arc<Catalog<P>>, stop: CancellationToken) {
    let mut chores: Vec<_> = chores().into_iter().map(|chore| (chore, None)).collect();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(looks.tick()).await.is_some() {
        let now = catalog.clock().monotonic();
        for (chore, done_at) in &mut chores {
            if done_at.is_none_or(|done_at: Duration| now.saturating_sub(done_at) >= chore.every) {
                *done_at = Some(now);
                chore.carry_out(&catalog).await;
            }
        }
    }
    for (chore, _) in chores.iter().filter(|(chore, _)| chore.is_last) {
        chore.carry_out(&catalog).await;
    }
}

impl<P: Ports> Chore<P> {
    async fn carry_out(&self, catalog: &Catalog<P>) {
        if let Err(error) = (self.work)(catalog).await {
            catalog.alarms().count(Alarm::ChoreFailed);
            tracing::warn!(chore = self.name, %error, "housekeeping failed; it is done again");
        }
    }
}
