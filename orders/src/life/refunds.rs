//! Refunds: their rows, and their turns at the provider. A row stands before the provider is asked,
//! and its number stays on every repetition.

use domain::{
    id::{OrderId, TenantId},
    money::Money,
    order::{Status, Transition},
};
use serde_json::json;
use store::sql::{Row, Sql, SqlError, Tx as _, Value, stored};

use super::{
    attempts::{Attempt, time},
    ports::{Accounts as _, Kinds},
    refused::Refused,
    service::Life,
    shown::{Amount, OrderNow},
    step::{Step, Told},
};
use crate::payment::{
    Failed, Number, Provider as _, ProviderKind, Refund, RefundOrder,
    attempt::AttemptState,
    pacer::{Pace, RefundPhase, after},
};

const COLUMNS: &str = "r.order_id, r.refund, r.tenant, r.attempt, r.state, r.amount, r.currency, r.reason, \
                       r.request_key, r.next_at, r.created_at, a.provider, a.amount";
const FROM: &str = "refunds r JOIN attempts a ON a.order_id = r.order_id AND a.attempt = r.attempt";
const INSERT: &str = "INSERT INTO refunds (order_id, refund, tenant, attempt, number, state, amount, currency, reason, \
                      request_key, next_at, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const SAVE: &str = "UPDATE refunds SET state = ?, provider_number = COALESCE(?, provider_number), next_at = ?, \
                    done_at = ? WHERE order_id = ? AND refund = ?";
/// Takes a turn: of two who try, one does.
const CLAIM: &str = "UPDATE refunds SET next_at = ? WHERE order_id = ? AND refund = ? AND next_at = ?";
/// Until it is looked again whether an account is there.
const NO_ACCOUNT_MS: u64 = 30_000;
/// The others of the order wait for their turn behind it.
const HOLD_BACK: &str =
    "UPDATE refunds SET next_at = ? WHERE order_id = ? AND refund <> ? AND state = 1 AND next_at < ?";

/// A refund.
#[derive(Debug, Clone)]
pub(super) struct RefundRow {
    pub(super) order: OrderId,
    /// Counted within the order, from 1.
    pub(super) refund: u32,
    pub(super) tenant: TenantId,
    pub(super) attempt: u32,
    pub(super) phase: RefundPhase,
    pub(super) amount: Money,
    pub(super) reason: String,
    pub(super) request_key: Option<String>,
    next_ms: Option<u64>,
    created_ms: u64,
    provider: ProviderKind,
    /// What the attempt was paid with.
    paid: Money,
}

/// One that is to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewRefund<'a> {
    pub(super) amount: Money,
    /// What the buyer reads.
    pub(super) reason: &'a str,
    /// Digest of the Idempotency-Key of who asks.
    pub(super) request_key: Option<&'a str>,
}

impl RefundRow {
    /// The number that the provider is asked with.
    pub(super) fn number(order: OrderId, refund: u32) -> Result<Number, SqlError> {
        let number = format!("{order}_r{refund}");
        number.parse().map_err(|_| SqlError::Broken(format!("{number} is no number of a refund").into()))
    }

    /// Which refund a number names.
    pub(super) fn named(number: &Number) -> Option<(OrderId, u32)> {
        let (order, refund) = number.as_str().split_once("_r")?;
        Some((order.parse().ok()?, refund.parse().ok()?))
    }

    /// Whether its money has gone back, or is on its way.
    pub(super) const fn counts(&self) -> bool {
        !matches!(self.phase, RefundPhase::Failed)
    }

    fn asked(&self) -> Result<RefundOrder, SqlError> {
        let number = format!("{}_{}", self.order, self.attempt);
        Ok(RefundOrder {
            refund_number: Self::number(self.order, self.refund)?,
            number: number.parse().map_err(|_| SqlError::Broken(format!("{number} is no number").into()))?,
            amount: self.amount,
            paid: self.paid,
            reason: self.reason.clone(),
        })
    }
}

fn read(mut row: Row) -> Result<RefundRow, SqlError> {
    let (order, refund) = (row.id(OrderId::new)?, row.number()?);
    let (tenant, attempt) = (row.id(TenantId::new)?, row.number()?);
    let phase = row.int_as("refund state", |number| RefundPhase::from_stored(u8::try_from(number).ok()?))?;
    let amount = Money { amount: row.int()?, currency: row.text_as("currency", |text| text.parse().ok())? };
    Ok(RefundRow {
        order,
        refund,
        tenant,
        attempt,
        phase,
        amount,
        reason: row.text()?,
        request_key: row.text_or_null()?,
        next_ms: row.time_or_null()?,
        created_ms: row.number()?,
        provider: row.text_as("provider", ProviderKind::named)?,
        paid: Money { amount: row.int()?, ..amount },
    })
}

impl<S: Sql> Step<S> {
    /// All refunds of the order, by number.
    pub(super) async fn refunds(&mut self) -> Result<Vec<RefundRow>, SqlError> {
        let query = format!("SELECT {COLUMNS} FROM {FROM} WHERE r.order_id = ? ORDER BY r.refund");
        self.tx.rows(&query, vec![self.row.order.stored().into()]).await?.into_iter().map(read).collect()
    }

    /// Adds one, of this attempt. Its number among the order's.
    pub(super) async fn add_refund(&mut self, attempt: &Attempt, new: NewRefund<'_>) -> Result<u32, SqlError> {
        let before = self.refunds().await?;
        let refund = before.last().map_or(1, |last| last.refund + 1);
        let gap_ms = Pace::of(attempt.provider()).map_or(0, |pace| pace.order_gap_ms);
        let next_ms = before.last().map_or(0, |last| last.created_ms + gap_ms).max(self.now_ms);
        let params = vec![
            attempt.order.stored().into(),
            refund.into(),
            attempt.tenant.stored().into(),
            attempt.attempt.into(),
            RefundRow::number(attempt.order, refund)?.as_str().into(),
            RefundPhase::Waiting.stored().into(),
            new.amount.amount.into(),
            new.amount.currency.as_str().into(),
            new.reason.into(),
            Value::text_or_null(new.request_key),
            stored(next_ms)?.into(),
            stored(self.now_ms)?.into(),
        ];
        self.tx.exec(INSERT, params).await?;
        Ok(refund)
    }
}

/// Refunds of a shard whose turn may have come: parameters now and how many.
pub(super) fn due() -> String {
    format!("SELECT {COLUMNS} FROM {FROM} WHERE r.next_at <= ? ORDER BY r.next_at LIMIT ?")
}

/// Reads what [`due`] finds.
pub(super) fn read_all(rows: Vec<Row>) -> Result<Vec<RefundRow>, SqlError> {
    rows.into_iter().map(read).collect()
}

impl<K: Kinds> Life<K> {
    /// Gives a refund its turn, unless somebody else has it.
    pub(super) async fn give_turn(&self, refund: &RefundRow) -> Result<(), Refused> {
        let Some(pace) = Pace::of(refund.provider) else { return Ok(()) };
        let Some(account) = self.ports().accounts.of(refund.tenant, refund.provider) else {
            return self.lacks_account(refund).await;
        };
        let (now_ms, asks) = (self.now_ms(), refund.phase == RefundPhase::Waiting);
        let until = stored(now_ms + if asks { pace.order_gap_ms } else { pace.query_gap_ms })?;
        let shard = self.orders().map().home_of_order(refund.order).shard;
        let (order, number) = (refund.order.stored(), refund.refund);
        let claim = vec![until.into(), order.into(), number.into(), time(refund.next_ms)?];
        if self.orders().change_beside(shard, CLAIM, claim).await? != 1 {
            return Ok(());
        }
        let asked = refund.asked()?;
        let answer = if asks {
            let hold = vec![until.into(), order.into(), number.into(), until.into()];
            self.orders().change_beside(shard, HOLD_BACK, hold).await?;
            account.refund(&asked).await
        } else {
            account.query_refund(&asked).await
        };
        self.refund_answered((refund.order, refund.refund), &answer).await
    }

    /// Nobody can be asked: it is told, and the refunds of others come before it.
    async fn lacks_account(&self, refund: &RefundRow) -> Result<(), Refused> {
        let shard = self.orders().map().home_of_order(refund.order).shard;
        let (later, order) = (stored(self.now_ms() + NO_ACCOUNT_MS)?, refund.order.stored());
        let claim = vec![later.into(), order.into(), refund.refund.into(), time(refund.next_ms)?];
        if self.orders().change_beside(shard, CLAIM, claim).await? == 1 {
            tracing::error!(order = %refund.order, tenant = %refund.tenant, provider = refund.provider.as_str(),
                "a refund is owed from an account that is not among the accounts: put it back");
        }
        Ok(())
    }

    /// Takes in what a provider says of a refund.
    pub(super) async fn refund_answered(
        &self,
        (order, number): (OrderId, u32),
        answer: &Result<Refund, Failed>,
    ) -> Result<(), Refused> {
        let Some(mut step) = self.begin(order).await? else { return Ok(()) };
        self.refund_answered_within(&mut step, number, answer).await?;
        step.commit().await?;
        Ok(())
    }

    /// What has gone back of the price: of all that was paid for the order, a second payment goes
    /// back first.
    async fn refunded(&self, step: &mut Step<K::Sql>, refunds: &[RefundRow]) -> Result<i64, Refused> {
        let attempts = step.attempts().await?;
        let paid = attempts.iter().filter(|attempt| attempt.state == AttemptState::Paid);
        let paid = paid.fold(0, |sum: i64, attempt| sum.saturating_add(attempt.amount.amount));
        let done = refunds.iter().filter(|refund| refund.phase == RefundPhase::Done);
        let done = done.fold(0, |sum: i64, refund| sum.saturating_add(refund.amount.amount));
        let price = step.row.unit_price.amount.saturating_mul(step.row.quantity.into());
        Ok(price.saturating_sub(paid.saturating_sub(done)).clamp(0, price))
    }

    /// The same within a step. Whether anything changed.
    pub(super) async fn refund_answered_within(
        &self,
        step: &mut Step<K::Sql>,
        number: u32,
        answer: &Result<Refund, Failed>,
    ) -> Result<bool, Refused> {
        let mut all = step.refunds().await?;
        let Some(refund) = all.iter_mut().find(|refund| refund.refund == number) else { return Ok(false) };
        let next = after(refund.phase, answer);
        if next == refund.phase {
            return Ok(false);
        }
        refund.phase = next;
        let is_over = matches!(next, RefundPhase::Done | RefundPhase::Failed);
        let gap_ms = Pace::of(refund.provider).map_or(0, |pace| pace.query_gap_ms);
        let provider_number = answer.as_ref().ok().and_then(|refund| refund.provider_number.as_deref());
        let params = vec![
            next.stored().into(),
            Value::text_or_null(provider_number),
            time((!is_over).then_some(step.now_ms + gap_ms))?,
            time(is_over.then_some(step.now_ms))?,
            step.row.order.stored().into(),
            number.into(),
        ];
        step.tx.exec(SAVE, params).await?;
        let told = Told {
            who: refund.provider.as_str(),
            what: if next == RefundPhase::Done { "refund_done" } else { "refund_failed" },
            number: provider_number,
            amount: Some(refund.amount.amount),
            why: None,
        };
        if is_over {
            step.tell(told).await?;
        }
        let are_all_done = all.iter().all(|refund| matches!(refund.phase, RefundPhase::Done | RefundPhase::Failed));
        if next == RefundPhase::Done && step.row.status == Status::Refunding && are_all_done {
            self.take(step, Transition::Refund, told).await?;
        } else if next == RefundPhase::Done {
            let refunded = self.refunded(step, &all).await?;
            self.tell_part_refund(step, number, refunded).await?;
        }
        Ok(true)
    }
}

/// What is left of an attempt that was paid.
fn left(attempt: &Attempt, refunds: &[RefundRow]) -> i64 {
    let of_it = refunds.iter().filter(|refund| refund.attempt == attempt.attempt && refund.counts());
    of_it.fold(attempt.amount.amount, |left, refund| left.saturating_sub(refund.amount.amount))
}

/// Makes a refund of a paid order, with the order's own step where it is a full one. Its number
/// among the order's.
pub(super) async fn begin_refund<K: Kinds>(
    life: &Life<K>,
    step: &mut Step<K::Sql>,
    (amount, reason, request_key): (Option<i64>, &str, Option<&str>),
    who: &str,
) -> Result<u32, Refused> {
    let refunds = step.refunds().await?;
    let attempts = step.attempts().await?;
    let paid = attempts.iter().find(|attempt| attempt.state == AttemptState::Paid && left(attempt, &refunds) > 0);
    let is_open = matches!(step.row.status, Status::Paid | Status::Fulfilled | Status::Completed | Status::Refunding);
    let Some(paid) = paid.filter(|_| is_open) else {
        return Err(Refused::conflict("there is nothing to refund of this order", &OrderNow::of(&step.row)));
    };
    let left = left(paid, &refunds);
    let amount = Money { amount: amount.unwrap_or(left), ..paid.amount };
    if amount.amount > left {
        let current = json!({"refundable": Amount::from(Money { amount: left, ..amount })});
        return Err(Refused::conflict("more than is left of what was paid; `current` shows that", &current));
    }
    if Pace::of(paid.provider()).is_some_and(|pace| refunds.len() >= pace.per_order_max as usize) {
        let detail = "the provider allows no more refunds of one payment: refund the rest on its site";
        return Err(Refused::conflict(detail, &OrderNow::of(&step.row)));
    }
    let number = step.add_refund(paid, NewRefund { amount, reason, request_key }).await?;
    let ours = RefundRow::number(step.row.order, number)?;
    let (own, amount) = (Some(ours.as_str()), Some(amount.amount));
    let told = Told { who, what: "refund_asked", number: own, amount, why: Some(reason) };
    let transition = match step.row.status {
        Status::Paid => Transition::RefundPaid,
        Status::Fulfilled => Transition::RefundFulfilled,
        Status::Completed => Transition::RefundCompleted,
        // It is refunding: one that came to nothing is asked for anew.
        _ => return step.tell(told).await.map(|()| number).map_err(Refused::from),
    };
    if amount == Some(left) {
        life.take(step, transition, told).await?;
    } else {
        step.tell(told).await?;
    }
    Ok(number)
}
