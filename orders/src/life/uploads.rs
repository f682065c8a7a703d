//! What WeChat is told of goods that were sent: a trading mini-program's money stays frozen until
//! then. A payment's transaction writes that somebody is to be told; the transaction of the
//! sending, that it is time; the work beside the requests tells it, as often as it takes. Told
//! twice is told once.

use domain::{
    id::{OrderId, TenantId},
    shard::ShardId,
};
use store::sql::{Row, Sql, SqlError, Tx as _, Value, stored};

use super::{
    attempts::Attempt,
    goods::Kind,
    ports::{Accounts as _, Kinds},
    refused::Refused,
    service::Life,
    step::{Step, Told},
};
use crate::payment::{
    Failed, Number, ProviderKind,
    attempt::AttemptState,
    wechat::shipping::{ALARM_AFTER_MS, Parcel, Shipping, Urgency, urgency},
};

/// How buyers pay whose money waits for such a word.
const METHOD: &str = "wechat_jsapi";
/// How long who tells may be silent until another does.
const CLAIMED_MS: u64 = 30_000;
/// When the platform is told again that did not take it, or refused it: a person may have to look.
const AGAIN_MS: u64 = 60_000;
const REFUSED_MS: u64 = 600_000;
/// Orders of a shard that are told of at once.
const AT_ONCE: u32 = 32;

const BEGIN: &str = "INSERT INTO shipping_uploads (order_id, attempt, tenant, paid_at, next_at) VALUES (?, ?, ?, ?, ?)";
const SENT: &str = "UPDATE shipping_uploads SET next_at = ? WHERE order_id = ? AND next_at IS NULL";
const NEVER: &str = "DELETE FROM shipping_uploads WHERE order_id = ?";
const DUE: &str = "SELECT order_id, attempt, tenant, paid_at, next_at FROM shipping_uploads WHERE next_at <= ? \
                   ORDER BY next_at LIMIT ?";
/// Takes it: of two who try, one does.
const CLAIM: &str = "UPDATE shipping_uploads SET next_at = ? WHERE order_id = ? AND next_at = ?";
const LATER: &str = "UPDATE shipping_uploads SET next_at = ? WHERE order_id = ?";
const NEAR: &str = "SELECT COUNT(*) FROM shipping_uploads WHERE paid_at <= ?";
const PARCEL: &str =
    "SELECT number, why FROM timeline WHERE order_id = ? AND what = 'fulfilled' ORDER BY entry LIMIT 1";
const PAYER: &str = "SELECT payer FROM attempts WHERE order_id = ? AND attempt = ?";

/// Somebody who is to be told.
struct Upload {
    order: OrderId,
    attempt: u32,
    tenant: TenantId,
    paid_ms: u64,
    next_at: i64,
}

fn read(mut row: Row) -> Result<Upload, SqlError> {
    let (order, attempt) = (row.id(OrderId::new)?, row.number()?);
    Ok(Upload { order, attempt, tenant: row.id(TenantId::new)?, paid_ms: row.number()?, next_at: row.int()? })
}

impl<S: Sql> Step<S> {
    /// The goods were sent, or came to the buyer otherwise: it is time.
    pub(super) async fn upload_now(&mut self) -> Result<(), SqlError> {
        let params = vec![stored(self.now_ms)?.into(), self.row.order.stored().into()];
        self.tx.exec(SENT, params).await.map(drop)
    }

    /// Nothing will be sent.
    pub(super) async fn upload_never(&mut self) -> Result<(), SqlError> {
        self.tx.exec(NEVER, vec![self.row.order.stored().into()]).await.map(drop)
    }
}

impl<K: Kinds> Life<K> {
    /// The order is paid: where its money waits for a word, somebody is to be told.
    pub(super) async fn begin_upload(&self, step: &mut Step<K::Sql>) -> Result<(), Refused> {
        if self.ports().accounts.uploader(step.row.tenant).is_none() {
            return Ok(());
        }
        let is_paid = |attempt: &Attempt| attempt.state == AttemptState::Paid && attempt.method.0 == METHOD;
        let Some(paid) = step.attempts().await?.into_iter().find(is_paid) else { return Ok(()) };
        let paid_ms = stored(paid.paid_ms.unwrap_or(step.now_ms))?;
        let row = [step.row.order.stored().into(), paid.attempt.into(), step.row.tenant.stored().into()];
        let row = row.into_iter().chain([paid_ms.into(), Value::Null]).collect();
        step.tx.exec(BEGIN, row).await?;
        Ok(())
    }

    /// Tells of orders of a shard whose goods were sent. How many were looked at.
    ///
    /// # Errors
    /// [`Refused`] when a database fails; the next call goes on.
    pub async fn upload_due(&self, shard: ShardId) -> Result<usize, Refused> {
        let now_ms = self.now_ms();
        let due = self.orders().beside(shard, DUE, vec![stored(now_ms)?.into(), AT_ONCE.into()]).await?;
        let due = due.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        for upload in &due {
            let claim = [stored(now_ms + CLAIMED_MS)?.into(), upload.order.stored().into(), upload.next_at.into()];
            if self.orders().change_beside(shard, CLAIM, claim.into()).await? == 1 {
                self.upload(shard, upload).await?;
            }
        }
        Ok(due.len())
    }

    /// Counts orders whose money is near the end of its time, sent or not.
    ///
    /// # Errors
    /// [`Refused`] when the database fails.
    pub async fn count_near_limit(&self, shard: ShardId) -> Result<u64, Refused> {
        let before = stored(self.now_ms().saturating_sub(ALARM_AFTER_MS))?;
        let row = self.orders().beside(shard, NEAR, vec![before.into()]).await?.into_iter().next();
        let near = row.map_or(Ok(0), |mut row| row.number())?;
        self.metrics().near_limit(shard, near);
        Ok(near)
    }

    async fn upload(&self, shard: ShardId, upload: &Upload) -> Result<(), Refused> {
        let (order, now_ms) = (upload.order, self.now_ms());
        let told = match (self.ports().accounts.uploader(upload.tenant), self.shipping(shard, upload).await?) {
            (Some(uploader), Some(shipping)) => uploader.tell(shipping).await,
            (None, _) => Err(Failed::NotTaken("the shop has no account there that is to be told".to_owned())),
            (_, None) => Err(Failed::NotTaken("nobody knows how the goods were sent".to_owned())),
        };
        let Err(failed) = told else {
            let Some(mut step) = self.begin(order).await? else { return Ok(()) };
            step.upload_never().await?;
            step.tell(Told { who: ProviderKind::Wechat.as_str(), what: "shipping_told", ..Told::default() }).await?;
            step.commit().await?;
            return Ok(());
        };
        match urgency(upload.paid_ms, now_ms) {
            Urgency::Calm => tracing::warn!(%order, %failed, "WeChat is not told yet that goods were sent"),
            Urgency::Alarm | Urgency::Late => tracing::error!(%order, tenant = %upload.tenant, %failed,
                "WeChat is not told that goods were sent, and its time is near or over: tell it on its site"),
        }
        let again_ms = if matches!(failed, Failed::Refused { .. }) { REFUSED_MS } else { AGAIN_MS };
        let later = vec![stored(now_ms + again_ms)?.into(), order.stored().into()];
        self.orders().change_beside(shard, LATER, later).await?;
        Ok(())
    }

    /// What is to be told.
    async fn shipping(&self, shard: ShardId, upload: &Upload) -> Result<Option<Shipping>, Refused> {
        let Some(row) = self.orders().find(&[upload.order]).await?.remove(&upload.order) else { return Ok(None) };
        let order = Value::from(upload.order.stored());
        let payer =
            self.orders().beside(shard, PAYER, vec![order.clone(), upload.attempt.into()]).await?.into_iter().next();
        let Some(openid) = payer.map(|mut row| row.text_or_null()).transpose()?.flatten() else { return Ok(None) };
        let parcel = match self.handover(upload.order).await?.map(|handover| handover.kind) {
            Some(Kind::Pickup) => Parcel::Pickup,
            Some(Kind::Code) => Parcel::Virtual,
            Some(Kind::Express) | None => {
                let line = self.orders().beside(shard, PARCEL, vec![order]).await?.into_iter().next();
                let Some(mut line) = line else { return Ok(None) };
                let (Some(tracking), Some(carrier)) = (line.text_or_null()?, line.text_or_null()?) else {
                    return Ok(None);
                };
                let masked_phone = self.masked_phone(&row).await?;
                Parcel::Express { carrier, tracking, masked_phone }
            }
        };
        let number: Number = format!("{}_{}", upload.order, upload.attempt)
            .parse()
            .map_err(|_| SqlError::Broken(format!("order {} has no number there", upload.order).into()))?;
        let description = format!("Order {}", upload.order);
        Ok(Some(Shipping { merchant: String::new(), number, openid, description, parcel, at_ms: self.now_ms() }))
    }
}
