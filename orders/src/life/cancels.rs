//! Orders of a sale, of an offer, or of a list cancelled in bulk, as a job. It goes over them in
//! passes, newest first, each order in a step of its own; what a pass has counted and where its
//! next piece begins are one write, so that whoever goes on after a kill counts nothing twice. An
//! order that was cancelled before a kill is found so. A job ends after a pass that began when all
//! orders promised before it were listed, and that left nothing under way.

use std::time::Duration;

use bytes::Bytes;
use domain::{
    id::{OfferId, OrderId, SaleId, TenantId},
    order::Status,
};
use kit::{
    access::Permission::{ReadOrders, WriteOrders, WritePayments},
    api::{Access, Call, Route, lacking},
    clock::rfc3339,
    digest::sha256,
    http::{Body, Mount, Response, StatusCode, reply},
    openapi::IdempotencyKey,
    problem::{Code, Problem},
};
use serde::{Deserialize, Serialize};
use store::sql::{Row, Sql as _, SqlError, Value, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    cancel::ask_cancel,
    ports::Kinds,
    refunds::begin_refund,
    refusals::{Asked, Stepped},
    refused::Refused,
    service::Life,
    step::Told,
    vault::hex,
};
use crate::blocks::Of;

/// Orders of a list.
const LIST_MAX: usize = 1_000;
/// Orders of a piece.
const PIECE: usize = 100;
/// How long who cancels may be silent until another goes on.
const LEASE_MS: u64 = 30_000;
/// By then an order that was promised before a job is listed.
const LISTED_MS: u64 = 15_000;
/// Between two passes, at first and later on: refunds take their time.
const PASS_MS: u64 = 5_000;
const PASS_LATER_MS: u64 = 60_000;
/// A job ends by then: what is still refunding is a provider's, or a person's.
const LONGEST_MS: u64 = 7 * 86_400_000;
/// Jobs of a tenant that are under way.
const OPEN_MAX: u32 = 10;
/// Jobs that are looked at at once.
const AT_ONCE: u32 = 16;

const COLUMNS: &str = "SELECT tenant, job, what, sale, offer, orders, who, reason, until_id, before_id, pass_at, cancelled, \
                       closing, refunding, refunded, untouched, shown, created_at, next_at, ended_at FROM order_cancels";
const COUNT_OPEN: &str = "SELECT COUNT(*) FROM order_cancels WHERE tenant = ? AND ended_at = 0";
const NEXT: &str = "SELECT COALESCE(MAX(job), 0) + 1 FROM order_cancels WHERE tenant = ?";
const INSERT: &str = "INSERT INTO order_cancels (tenant, job, request_key, what, sale, offer, orders, who, reason, until_id, \
                      before_id, pass_at, cancelled, closing, refunding, refunded, untouched, shown, created_at, next_at, \
                      ended_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, '', ?, ?, 0)";
/// Takes it: of two who try, one does.
const CLAIM: &str =
    "UPDATE order_cancels SET next_at = ? WHERE tenant = ? AND job = ? AND next_at = ? AND ended_at = 0";
/// The fence: who moves it has counted the orders up to there.
const MOVE: &str = "UPDATE order_cancels SET before_id = ?, pass_at = ?, cancelled = ?, closing = ?, refunding = ?, \
                    refunded = ?, untouched = ?, shown = ?, next_at = ?, ended_at = ? WHERE tenant = ? AND job = ? AND \
                    before_id = ? AND pass_at = ? AND ended_at = 0";

/// Which orders are to be cancelled: those of a sale, of an offer, or these.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CancelsAsked {
    #[schema(pattern = "^[1-9][0-9]{0,18}$", nullable = false)]
    sale_id: Option<String>,
    #[schema(pattern = "^[1-9][0-9]{0,18}$", nullable = false)]
    offer_id: Option<String>,
    #[schema(min_items = 1, max_items = 1000, nullable = false)]
    order_ids: Option<Vec<OrderNumber>>,
    /// What buyers read who get their money back. No personal data.
    #[schema(min_length = 1, max_length = 80)]
    reason: String,
}

/// An order's id.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(pattern = "^[1-9][0-9]{0,18}$")]
struct OrderNumber(String);

/// Orders by where a pass found or left them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
struct Counted {
    /// Cancelled, whoever did it.
    cancelled: u64,
    /// A payment that may still come is being closed first.
    closing: u64,
    /// Their money is on its way back.
    refunding: u64,
    /// Their buyers have their money again.
    refunded: u64,
    /// Expired, rejected, sent, or not there.
    untouched: u64,
}

/// A job that cancels orders.
#[derive(Debug, Serialize, ToSchema)]
struct OrderCancels {
    /// Its number in the shop.
    id: String,
    /// `running` or `done`.
    state: &'static str,
    /// After the last pass; while the first one goes on, up to where that is.
    orders: Counted,
    /// RFC 3339, UTC.
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ended_at: Option<String>,
}

/// A job, as its row says.
#[derive(Debug, Clone)]
struct Job {
    tenant: TenantId,
    number: i64,
    what: String,
    sale: i64,
    offer: i64,
    orders: Bytes,
    who: String,
    reason: String,
    until: u64,
    /// Orders below this id are still to be looked at.
    before: u64,
    /// When the pass began.
    pass_ms: u64,
    now: Counted,
    /// Of the last whole pass.
    shown: Option<Counted>,
    created_ms: u64,
    next_at: i64,
    /// 0 until it is over.
    ended_ms: u64,
}

#[derive(OpenApi)]
#[openapi(paths(cancel, show))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Life<K>>>> {
    vec![
        Mount::post(
            "/v1/merchant/order-cancels",
            "cancel_orders",
            Route::new(Access::Needs(WriteOrders), |life, call| Box::pin(cancel(life, call))),
        ),
        Mount::get(
            "/v1/merchant/order-cancels/{job}",
            "order_cancels",
            Route::new(Access::Needs(ReadOrders), |life, call| Box::pin(show(life, call))),
        ),
    ]
}

/// Cancels orders that were not sent; what was paid is refunded at the provider's pace.
///
/// As a job. Give a sale, an offer, or up to 1,000 orders; orders that are promised later are not
/// cancelled. The same Idempotency-Key gets the same job.
#[utoipa::path(
    post, path = "/v1/merchant/order-cancels", operation_id = "cancel_orders", tag = "orders",
    security(("merchant" = [])), request_body = CancelsAsked, params(IdempotencyKey),
    responses((status = 202, body = OrderCancels), Asked)
)]
async fn cancel<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let tenant = TenantId::new(call.actor.tenant.into()).map_err(|_none| Refused::not_found())?;
    if !call.actor.permissions.has(WritePayments) {
        return Err(lacking(WritePayments).into());
    }
    let asked: CancelsAsked = call.json()?;
    let request_key = hex(&sha256(format!("{}\n{}", call.actor.who, call.idempotency_key()?).as_bytes()));
    let what = hex(&sha256(&call.body));
    let (sale, offer, orders) = which(&asked)?;
    let known = async || {
        let of_key = format!("{COLUMNS} WHERE tenant = ? AND request_key = ?");
        life.job(&of_key, vec![tenant.stored().into(), (&*request_key).into()]).await
    };
    let mut job = known().await?;
    if job.is_none() {
        if life.number::<u32>(COUNT_OPEN, tenant).await? >= OPEN_MAX {
            let detail = format!("{OPEN_MAX} such jobs of this shop are under way; come back when one is done");
            return Err(Problem::new(Code::RateLimited, detail).with_retry_after(Duration::from_secs(5)).into());
        }
        let (number, now_ms) = (life.number::<i64>(NEXT, tenant).await?, life.now_ms());
        let until = stored(OrderId::floor_at(now_ms + 1))?;
        let row = vec![tenant.stored().into(), number.into(), (&*request_key).into(), (&*what).into()];
        let which = [sale.into(), offer.into(), orders.into(), (&*call.actor.who.to_string()).into()];
        let when = [until, until, stored(now_ms)?, stored(now_ms)?, stored(now_ms)?].map(Value::from);
        let row = row.into_iter().chain(which).chain([(&*asked.reason).into()]).chain(when).collect();
        // Where another came first with this key or number, that one stands.
        life.own()?.insert_absent(INSERT, row).await?;
        job = known().await?;
    }
    let job = job.ok_or_else(|| SqlError::LockWait("another job took its number; repeat it".into()))?;
    if job.what != what {
        let detail = "this Idempotency-Key was used to cancel other orders; give a new one";
        return Err(Problem::new(Code::IdempotencyMismatch, detail).into());
    }
    Ok(reply::json(StatusCode::ACCEPTED, &job.shown()))
}

/// How far a job is that cancels orders.
#[utoipa::path(
    get, path = "/v1/merchant/order-cancels/{job}", operation_id = "order_cancels", tag = "orders",
    security(("merchant" = [])), params(("job" = String, Path, description = "Its number.")),
    responses((status = 200, body = OrderCancels), Stepped)
)]
async fn show<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let tenant = TenantId::new(call.actor.tenant.into()).map_err(|_none| Refused::not_found())?;
    let number: u32 = call.part("job")?;
    let by_number = format!("{COLUMNS} WHERE tenant = ? AND job = ?");
    let job = life.job(&by_number, vec![tenant.stored().into(), number.into()]).await?;
    let job = job.ok_or_else(|| Problem::new(Code::NotFound, "there is no such job"))?;
    Ok(reply::json(StatusCode::OK, &job.shown()))
}

/// One of the three, as the row keeps it.
fn which(asked: &CancelsAsked) -> Result<(i64, i64, Bytes), Refused> {
    let wrong = |field: &'static str, message: &'static str| {
        Problem::new(Code::InvalidRequest, "say once which orders").with_field(field, message)
    };
    let id = |text: &str, field| {
        text.parse::<i64>().map_err(|_| Refused::from(wrong(field, "give an id, as orders show it")))
    };
    Ok(match (&asked.sale_id, &asked.offer_id, &asked.order_ids) {
        (Some(sale), None, None) => (id(sale, "sale_id")?, 0, Bytes::new()),
        (None, Some(offer), None) => (0, id(offer, "offer_id")?, Bytes::new()),
        (None, None, Some(orders)) if (1..=LIST_MAX).contains(&orders.len()) => {
            let ids = orders.iter().map(|OrderNumber(id)| id.parse::<OrderId>()).collect::<Result<Vec<_>, _>>();
            let mut ids = ids.map_err(|_| wrong("order_ids", "give ids, as orders show them"))?;
            ids.sort_unstable_by(|a, b| b.cmp(a));
            ids.dedup();
            (0, 0, ids.iter().flat_map(|id| id.get().to_be_bytes()).collect())
        }
        _ => return Err(wrong("sale_id", "give one of sale_id, offer_id and order_ids").into()),
    })
}

impl<K: Kinds> Life<K> {
    /// Goes on with the jobs that cancel orders whose time has come, each by one piece. How many
    /// pieces.
    ///
    /// # Errors
    /// [`Refused`] when a database fails; the next call goes on.
    pub async fn cancel_piece(&self) -> Result<usize, Refused> {
        let due = format!("{COLUMNS} WHERE ended_at = 0 AND next_at <= ? ORDER BY next_at LIMIT ?");
        let due = self.own()?.rows(&due, vec![stored(self.now_ms())?.into(), AT_ONCE.into()]).await?;
        let mut pieces = 0;
        for row in due {
            let job = Job::read(row)?;
            let mut claim = vec![stored(self.now_ms() + LEASE_MS)?.into()];
            claim.extend(job.key());
            claim.push(job.next_at.into());
            if self.own()?.exec(CLAIM, claim).await? == 1 {
                self.piece(job).await?;
                pieces += 1;
            }
        }
        Ok(pieces)
    }

    /// Cancels the next orders of a job, and writes down what came of it.
    async fn piece(&self, job: Job) -> Result<(), Refused> {
        let ids = self.next_of(&job).await?;
        let mut then = job.clone();
        for &id in &ids {
            self.cancel_one(&job, id, &mut then.now).await?;
            then.before = id.get();
        }
        let now_ms = self.now_ms();
        let mut next_ms = now_ms;
        if ids.len() < PIECE {
            let is_whole = job.pass_ms >= job.created_ms + LISTED_MS || !job.orders.is_empty();
            let is_done = is_whole && then.now.closing == 0 && then.now.refunding == 0;
            then.shown = Some(then.now);
            if is_done || now_ms >= job.created_ms + LONGEST_MS {
                then.ended_ms = now_ms;
            } else {
                let is_young = now_ms < job.created_ms + PASS_LATER_MS;
                next_ms = now_ms + if is_young { PASS_MS } else { PASS_LATER_MS };
                (then.before, then.pass_ms, then.now) = (job.until, next_ms, Counted::default());
            }
        }
        let Counted { cancelled, closing, refunding, refunded, untouched } = then.now;
        let mut params = Vec::with_capacity(14);
        for number in [then.before, then.pass_ms, cancelled, closing, refunding, refunded, untouched] {
            params.push(stored(number)?.into());
        }
        let shown = then.shown.map(|counted| serde_json::to_string(&counted)).transpose();
        let shown = shown.map_err(|error| SqlError::Broken(error.to_string().into()))?.unwrap_or_default();
        params.extend([shown.as_str().into(), stored(next_ms)?.into(), stored(then.ended_ms)?.into()]);
        params.extend(job.key());
        params.extend([stored(job.before)?.into(), stored(job.pass_ms)?.into()]);
        // Where it does not fit, another went on meanwhile, and found these orders as they are.
        self.own()?.exec(MOVE, params).await?;
        Ok(())
    }

    /// The next orders of a job, falling.
    async fn next_of(&self, job: &Job) -> Result<Vec<OrderId>, Refused> {
        if !job.orders.is_empty() {
            let ids = job.orders.as_chunks::<8>().0.iter().map(|id| u64::from_be_bytes(*id));
            let ids = ids.filter(|id| *id < job.before).take(PIECE).map(OrderId::new);
            return Ok(ids.collect::<Result<_, _>>().map_err(|error| SqlError::Broken(error.to_string().into()))?);
        }
        let of = match (u64::try_from(job.sale).map(SaleId::new), u64::try_from(job.offer).map(OfferId::new)) {
            (Ok(Ok(sale)), _) => Of::Sale(sale),
            (_, Ok(Ok(offer))) => Of::Offer(offer),
            _ => return Err(SqlError::Broken("a job that cancels nobody's orders".into()).into()),
        };
        Ok(self.ports().blocks.page((job.tenant, of), (0, job.before), PIECE).await?)
    }

    async fn cancel_one(&self, job: &Job, order: OrderId, counted: &mut Counted) -> Result<(), Refused> {
        let step = self.begin(order).await?.filter(|step| step.row.tenant == job.tenant);
        let Some(mut step) = step else {
            counted.untouched += 1;
            return Ok(());
        };
        let count = match step.row.status {
            Status::Cancelled => &mut counted.cancelled,
            Status::Refunding => &mut counted.refunding,
            Status::Refunded => &mut counted.refunded,
            Status::PendingPayment => {
                match ask_cancel(self, step, Told { who: &job.who, ..Told::default() }).await?.1 {
                    None => &mut counted.cancelled,
                    Some(_) => {
                        self.wake().notify_one();
                        &mut counted.closing
                    }
                }
            }
            Status::Paid => match begin_refund(self, &mut step, (None, &job.reason, None), &job.who).await {
                Ok(_) => {
                    step.commit().await?;
                    self.wake().notify_one();
                    &mut counted.refunding
                }
                Err(Refused::Problem(problem)) => {
                    tracing::warn!(%order, detail = %problem.detail, "an order of a job cannot be refunded");
                    &mut counted.untouched
                }
                Err(error) => return Err(error),
            },
            _ => &mut counted.untouched,
        };
        *count += 1;
        Ok(())
    }

    async fn job(&self, query: &str, params: Vec<Value>) -> Result<Option<Job>, SqlError> {
        self.own()?.rows(query, params).await?.into_iter().next().map(Job::read).transpose()
    }

    async fn number<T: TryFrom<i64>>(&self, query: &str, tenant: TenantId) -> Result<T, SqlError> {
        let row = self.own()?.rows(query, vec![tenant.stored().into()]).await?.into_iter().next();
        row.ok_or_else(|| SqlError::Broken("a count has no row".into()))?.number()
    }
}

impl Job {
    fn key(&self) -> Vec<Value> {
        vec![self.tenant.stored().into(), self.number.into()]
    }

    fn read(mut row: Row) -> Result<Self, SqlError> {
        Ok(Self {
            tenant: row.id(TenantId::new)?,
            number: row.int()?,
            what: row.text()?,
            sale: row.int()?,
            offer: row.int()?,
            orders: row.bytes()?,
            who: row.text()?,
            reason: row.text()?,
            until: row.number()?,
            before: row.number()?,
            pass_ms: row.number()?,
            now: Counted {
                cancelled: row.number()?,
                closing: row.number()?,
                refunding: row.number()?,
                refunded: row.number()?,
                untouched: row.number()?,
            },
            shown: row.text_as("counts of a job", |text| match text {
                "" => Some(None),
                text => serde_json::from_str(text).ok().map(Some),
            })?,
            created_ms: row.number()?,
            next_at: row.int()?,
            ended_ms: row.number()?,
        })
    }

    fn shown(&self) -> OrderCancels {
        OrderCancels {
            id: self.number.to_string(),
            state: if self.ended_ms == 0 { "running" } else { "done" },
            orders: self.shown.unwrap_or(self.now),
            created_at: rfc3339(self.created_ms),
            ended_at: (self.ended_ms > 0).then(|| rfc3339(self.ended_ms)),
        }
    }
}
