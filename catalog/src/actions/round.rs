//! What is due is done, in any number of processes.

use kit::{
    access::{Permission::WriteSales, Who},
    clock::Clock as _,
};
use store::sql::{Sql as _, Tx as _, stored};

use super::{
    bodies::State,
    row::{COLUMNS, Kept},
};
use crate::{
    alarms::Alarm,
    failpoint::{Failpoint, Step},
    identity,
    ports::Ports,
    refused::Refused,
    sales,
    service::Catalog,
};

/// Actions of one round.
const ROUND_MAX: u32 = 100;
/// Attempts, the first one among them.
const ATTEMPTS_MAX: u32 = 5;
/// Between the first attempt and the second; then twice as long each time.
const PAUSE_MS: u64 = 5_000;

/// Does what is due. An action that fails is tried again, and holds up no other.
///
/// # Errors
/// [`Refused::Sql`]; the next round goes on.
pub async fn keep<P: Ports>(catalog: &Catalog<P>) -> Result<(), Refused> {
    let due = format!(
        "SELECT tenant, {COLUMNS} FROM sale_actions WHERE is_open = 1 AND next_at <= ? ORDER BY next_at LIMIT ?"
    );
    let now_ms = catalog.clock().now_ms();
    for mut row in catalog.sql().rows(&due, vec![stored(now_ms)?.into(), ROUND_MAX.into()]).await? {
        let (tenant, kept) = (row.number()?, Kept::read(row)?);
        let action = kept.action;
        if let Err(error) = carry_out(catalog, tenant, kept).await {
            tracing::warn!(%error, tenant, action, "a scheduled action is not done yet; the next round tries it");
        }
    }
    Ok(())
}

async fn carry_out<P: Ports>(catalog: &Catalog<P>, tenant: u32, kept: Kept) -> Result<(), Refused> {
    if let Some(reason) = too_late(catalog, tenant, &kept).await? {
        return note(catalog, tenant, &kept, (reason, true)).await;
    }
    let version = kept.version + 1;
    let done = Kept { state: State::Done, reason: String::new(), version, ..kept.clone() };
    let change = async || {
        let mut change = catalog.begin_for(tenant, identity::who(&kept.created_by)).await?;
        let found = Kept::lock(&mut change.tx, tenant, kept.action).await?;
        // Another process did it, or it was cancelled.
        if found.version != kept.version {
            return Ok(None);
        }
        done.save(&mut change.tx, tenant, change.now_ms).await?;
        let target = format!("sale_action:{}", kept.action);
        change.record("sale_action.done", target, Some(&found.shown()), Some(&done.shown()))?;
        Ok(Some(change))
    };
    match sales::act(catalog, change, (tenant, kept.sale), kept.asked.deed()?).await {
        Ok(is_done) => {
            if is_done {
                catalog.alarms().count(Alarm::ActionDone);
            }
            Ok(())
        }
        // Rolled back, or unknown: its row tells the next round.
        Err(Refused::Sql(error)) => Err(error.into()),
        Err(refused) => note(catalog, tenant, &kept, (refused.to_string(), false)).await,
    }
}

/// Why it cannot be done any more.
async fn too_late<P: Ports>(catalog: &Catalog<P>, tenant: u32, kept: &Kept) -> Result<Option<String>, Refused> {
    let who = identity::who(&kept.created_by);
    if who == Who::Nobody || !identity::permissions(catalog, tenant, who).await?.has(WriteSales) {
        return Ok(Some("who scheduled it may not change sales now: schedule it again".to_owned()));
    }
    match sales::closes_at(catalog, tenant, kept.sale).await {
        Ok(closes_at) if catalog.clock().now_ms() >= closes_at => Ok(Some("the sale's window is over".to_owned())),
        Ok(_) => Ok(None),
        Err(Refused::Problem(problem)) => Ok(Some(problem.detail.to_string())),
        Err(error) => Err(error),
    }
}

/// An attempt failed; after the last one it is an alarm.
async fn note<P: Ports>(
    catalog: &Catalog<P>,
    tenant: u32,
    kept: &Kept,
    (reason, is_last): (String, bool),
) -> Result<(), Refused> {
    let now_ms = catalog.clock().now_ms();
    let mut tx = catalog.sql().begin().await?;
    let found = Kept::lock(&mut tx, tenant, kept.action).await?;
    if found.version != kept.version {
        tx.rollback().await;
        return Ok(());
    }
    let attempts = kept.attempts + 1;
    let is_over = is_last || attempts >= ATTEMPTS_MAX;
    let state = if is_over { State::Failed } else { State::Waiting };
    let next_at = now_ms + (PAUSE_MS << kept.attempts.min(ATTEMPTS_MAX));
    let after = Kept { state, next_at, attempts, reason, version: found.version + 1, ..found };
    after.save(&mut tx, tenant, now_ms).await?;
    Failpoint::of_actions().reach(Step::Written);
    tx.commit().await?;
    Failpoint::of_actions().reach(Step::Durable);
    let (action, sale, reason) = (kept.action, kept.sale, after.reason);
    catalog.alarms().count(if is_over { Alarm::ActionFailed } else { Alarm::ActionRetried });
    if is_over {
        tracing::error!(tenant, sale, action, reason, "a scheduled action failed for good");
    } else {
        tracing::warn!(tenant, sale, action, attempts, reason, "a scheduled action failed; it is tried again");
    }
    Ok(())
}
