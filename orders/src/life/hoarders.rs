//! Buyers who let orders expire, and what a shop does about them. The shop's rule says after how
//! many expiries an order of such a buyer has less time to be paid, counts against a lower limit,
//! or is cancelled at once.
//!
//! A purchase pays nothing for it: whose an order is is looked at after it was accepted. Orders of
//! shops with a rule are noted in the transaction that lists them, so that each is noted, and the
//! notes are taken one by one, each until it is done. How often a buyer let an order expire is
//! counted in the rows: a row is expired once, whoever expired it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use bytes::Bytes;
use domain::{
    event::{EventKind, OrderEvent},
    id::{BuyerId, OrderId, PartitionId, TenantId},
    order::OrderRow,
};
use kit::{
    access::Permission::{ReadOrders, WriteOrders},
    api::{Access, Call, Route},
    http::{Body, Mount, Response, StatusCode, reply},
    problem::{Code, Problem},
};
use serde::{Deserialize, Serialize};
use store::sql::{Insert, Row, Sql, SqlError, Tx, Value, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    attempts::Attempt,
    cancel::ask_cancel,
    ports::Kinds,
    refusals::{Asked, Stepped},
    refused::Refused,
    service::Life,
    step::{Step, Told},
};

const DAY_MS: u64 = 86_400_000;
const MINUTE_MS: u64 = 60_000;
/// What is left to pay, at least: a minute, which is the shortest that providers open a payment
/// for, and what passes between their end and ours. Longer than expiry needs to find a new time.
const LEFT_MS: u64 = 90_000;
/// How long who looks may be silent until another looks.
const CLAIMED_MS: u64 = 30_000;
/// Notes that are looked at at once.
const AT_ONCE: u32 = 16;
/// Orders of a note: 16 KB.
const NOTED_MAX: usize = 1_000;
/// Orders of a buyer in a sale that are counted: more than any limit lets him have.
const LIVE_MAX: u32 = 1_000;

const RULE: &str = "SELECT expiries, within_days, consequence, amount FROM hoarder_rules WHERE tenant = ?";
const TENANTS: &str = "SELECT tenant FROM hoarder_rules";
const FORGET: &str = "DELETE FROM hoarder_rules WHERE tenant = ?";
const DUE: &str = "SELECT source, place, part, tenant, orders, next_at FROM hoarder_looks WHERE next_at <= ? \
                   ORDER BY next_at LIMIT ?";
/// Takes it: of two who try, one does.
const CLAIM: &str = "UPDATE hoarder_looks SET next_at = ? WHERE source = ? AND place = ? AND part = ? AND next_at = ?";
const DONE: &str = "DELETE FROM hoarder_looks WHERE source = ? AND place = ? AND part = ?";

static NOTE: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new("INSERT INTO hoarder_looks (source, place, part, tenant, orders, next_at) VALUES [(?, ?, ?, ?, ?, ?),]")
});

/// What is done with orders of such a buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Consequence {
    /// They are to be paid sooner.
    ShorterWindow,
    /// One with which he has more units of the lane than so many is cancelled.
    FewerUnits,
    /// They are cancelled.
    Refuse,
}

impl Consequence {
    const ALL: [Self; 3] = [Self::ShorterWindow, Self::FewerUnits, Self::Refuse];

    const fn as_str(self) -> &'static str {
        match self {
            Self::ShorterWindow => "shorter_window",
            Self::FewerUnits => "fewer_units",
            Self::Refuse => "refuse",
        }
    }
}

/// What a shop does about buyers who let orders expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct HoarderRule {
    /// From so many expired orders on.
    #[schema(minimum = 1, maximum = 100)]
    expiries: u32,
    /// That were promised within so many days.
    #[schema(minimum = 1, maximum = 90)]
    within_days: u32,
    consequence: Consequence,
    /// With `shorter_window`, and with nothing else: minutes that he has to pay.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 2, maximum = 1440, nullable = false)]
    pay_minutes: Option<u32>,
    /// With `fewer_units`, and with nothing else: units of a lane that he may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000, nullable = false)]
    units_max: Option<u32>,
}

impl HoarderRule {
    /// Each member that does not belong to the consequence, and each that is missing.
    fn checked(self) -> Result<Self, Box<Problem>> {
        let mut problem = Problem::new(Code::InvalidRequest, "the rule is wrong");
        let members = [
            ("pay_minutes", self.pay_minutes, Consequence::ShorterWindow),
            ("units_max", self.units_max, Consequence::FewerUnits),
        ];
        for (member, given, of) in members {
            match (given, of == self.consequence) {
                (None, true) => problem = problem.with_field(member, format!("is missing: {} needs it", of.as_str())),
                (Some(_), false) => problem = problem.with_field(member, format!("belongs to {} alone", of.as_str())),
                _ => {}
            }
        }
        if problem.field_errors.is_empty() { Ok(self) } else { Err(Box::new(problem)) }
    }

    fn read(mut row: Row) -> Result<Self, SqlError> {
        let (expiries, within_days) = (row.number()?, row.number()?);
        let consequence = row.text_as("consequence of a rule", |text| {
            Consequence::ALL.into_iter().find(|consequence| consequence.as_str() == text)
        })?;
        let amount = Some(row.number()?);
        Ok(Self {
            expiries,
            within_days,
            consequence,
            pay_minutes: amount.filter(|_| consequence == Consequence::ShorterWindow),
            units_max: amount.filter(|_| consequence == Consequence::FewerUnits),
        })
    }

    fn amount(self) -> u32 {
        self.pay_minutes.or(self.units_max).unwrap_or(0)
    }

    /// What the timeline says.
    fn why(self, expired: u64) -> String {
        format!("{expired} orders of this buyer expired, of those of the last {} days", self.within_days)
    }
}

#[derive(OpenApi)]
#[openapi(paths(put, show, erase))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Life<K>>>> {
    const PATH: &str = "/v1/merchant/hoarders";
    let needs = Access::Needs;
    vec![
        Mount::put(PATH, "put_hoarder_rule", Route::new(needs(WriteOrders), |life, call| Box::pin(put(life, call)))),
        Mount::get(PATH, "hoarder_rule", Route::new(needs(ReadOrders), |life, call| Box::pin(show(life, call)))),
        Mount::delete(
            PATH,
            "delete_hoarder_rule",
            Route::new(needs(WriteOrders), |life, call| Box::pin(erase(life, call))),
        ),
    ]
}

/// Says what is done about buyers who let orders expire.
///
/// It holds for orders that are accepted from now on, some two seconds after they are. One that is
/// paid by then stays.
#[utoipa::path(
    put, path = "/v1/merchant/hoarders", operation_id = "put_hoarder_rule", tag = "orders",
    security(("merchant" = [])), request_body = HoarderRule, responses((status = 200, body = HoarderRule), Asked)
)]
async fn put<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let tenant = tenant_of(call)?;
    let rule = call.json::<HoarderRule>()?.checked()?;
    let consequence = rule.consequence.as_str();
    let row = vec![tenant.stored().into(), rule.expiries.into(), rule.within_days.into(), consequence.into()];
    let row = row.into_iter().chain([rule.amount().into()]).collect();
    let mut tx = life.ports().blocks.db().begin().await?;
    tx.upsert("hoarder_rules", &["tenant"], &["expiries", "within_days", "consequence", "amount"], row).await?;
    tx.commit().await?;
    Ok(reply::json(StatusCode::OK, &rule))
}

/// What is done about buyers who let orders expire.
#[utoipa::path(
    get, path = "/v1/merchant/hoarders", operation_id = "hoarder_rule", tag = "orders",
    security(("merchant" = [])), responses((status = 200, body = HoarderRule), Stepped)
)]
async fn show<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    call.query(&[])?;
    let rule = life.hoarder_rule(tenant_of(call)?).await?;
    let rule = rule.ok_or_else(|| Problem::new(Code::NotFound, "the shop has no rule about expired orders"))?;
    Ok(reply::json(StatusCode::OK, &rule))
}

/// Nothing more is done about buyers who let orders expire.
#[utoipa::path(
    delete, path = "/v1/merchant/hoarders", operation_id = "delete_hoarder_rule", tag = "orders",
    security(("merchant" = [])), responses((status = 204, description = "There is no rule now."), Stepped)
)]
async fn erase<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let tenant = tenant_of(call)?;
    life.ports().blocks.db().exec(FORGET, vec![tenant.stored().into()]).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

fn tenant_of(call: &Call<'_>) -> Result<TenantId, Refused> {
    TenantId::new(call.actor.tenant.into()).map_err(|_none| Refused::not_found())
}

/// Notes the orders of shops with a rule that these events make known, in this transaction of the
/// lists' database. `from`: partition and offset of the first record.
///
/// # Errors
/// [`SqlError`]; roll back.
pub(crate) async fn note_orders<T: Tx>(
    tx: &mut T,
    (partition, place): (PartitionId, u64),
    events: &[&OrderEvent],
) -> Result<(), SqlError> {
    let tenants = tx.rows(TENANTS, vec![]).await?.into_iter().map(|mut row| row.id(TenantId::new));
    let tenants = tenants.collect::<Result<BTreeSet<_>, _>>()?;
    let mut noted: BTreeMap<TenantId, Vec<u8>> = BTreeMap::new();
    for event in events.iter().filter(|event| event.kind == EventKind::Created && tenants.contains(&event.tenant)) {
        let orders = noted.entry(event.tenant).or_default();
        orders.extend(event.order.get().to_be_bytes());
        orders.extend(event.buyer.get().to_be_bytes());
    }
    let mut values: Vec<Value> = Vec::new();
    let parts = noted.iter().flat_map(|(tenant, orders)| orders.chunks(16 * NOTED_MAX).map(move |part| (tenant, part)));
    for (number, (tenant, orders)) in (0_u32..).zip(parts) {
        values.extend([Value::from(partition.0), stored(place)?.into(), number.into()]);
        values.extend([tenant.stored().into(), Bytes::copy_from_slice(orders).into(), 0_u32.into()]);
    }
    if values.is_empty() { Ok(()) } else { tx.insert(&NOTE, values).await }
}

/// Orders that somebody has to look at.
struct Note {
    key: [Value; 3],
    tenant: TenantId,
    orders: Vec<(OrderId, BuyerId)>,
    next_at: i64,
}

impl Note {
    fn read(mut row: Row) -> Result<Self, SqlError> {
        let key = [row.int()?, row.int()?, row.int()?].map(Value::from);
        let (tenant, bytes) = (row.id(TenantId::new)?, row.bytes()?);
        let damaged = || SqlError::Broken("a note of orders is damaged".into());
        let (pairs, rest) = bytes.as_chunks::<16>();
        if !rest.is_empty() {
            return Err(damaged());
        }
        let read = |pair: &[u8; 16]| {
            let (ids, _) = pair.as_chunks::<8>();
            let id = |at: usize| ids.get(at).map_or(0, |id| u64::from_be_bytes(*id));
            Some((OrderId::new(id(0)).ok()?, BuyerId::new(id(1)).ok()?))
        };
        let orders = pairs.iter().map(read).collect::<Option<_>>().ok_or_else(damaged)?;
        Ok(Self { key, tenant, orders, next_at: row.int()? })
    }
}

impl<K: Kinds> Life<K> {
    async fn hoarder_rule(&self, tenant: TenantId) -> Result<Option<HoarderRule>, SqlError> {
        let rows = self.ports().blocks.db().rows(RULE, vec![tenant.stored().into()]).await?;
        rows.into_iter().next().map(HoarderRule::read).transpose()
    }

    /// Looks at orders that were noted, and does with each what the rule of its shop says. How many
    /// notes.
    ///
    /// # Errors
    /// [`Refused`] when the database of the notes fails. A note that fails otherwise is looked at
    /// again, and keeps none of the others.
    pub async fn meet_hoarders(&self) -> Result<usize, Refused> {
        let db = self.ports().blocks.db();
        let due = db.rows(DUE, vec![stored(self.now_ms())?.into(), AT_ONCE.into()]).await?;
        let mut looked = 0;
        for row in due {
            let note = match Note::read(row) {
                Ok(note) => note,
                Err(error) => {
                    tracing::error!(%error, "a note of orders cannot be read; the others are looked at");
                    continue;
                }
            };
            let claim = [stored(self.now_ms() + CLAIMED_MS)?.into()].into_iter().chain(note.key.clone());
            if db.exec(CLAIM, claim.chain([note.next_at.into()]).collect()).await? != 1 {
                continue;
            }
            looked += 1;
            match self.meet(&note).await {
                Ok(()) => drop(db.exec(DONE, note.key.into()).await?),
                Err(error) => {
                    tracing::warn!(%error, tenant = %note.tenant, "orders are not held against the rule of their shop; \
                        they are looked at again");
                }
            }
        }
        Ok(looked)
    }

    async fn meet(&self, note: &Note) -> Result<(), Refused> {
        let Some(rule) = self.hoarder_rule(note.tenant).await? else { return Ok(()) };
        let since_ms = self.now_ms().saturating_sub(u64::from(rule.within_days) * DAY_MS);
        let buyers: Vec<BuyerId> = note.orders.iter().map(|(_, buyer)| *buyer).collect();
        let expired = self.orders().expired_of(note.tenant, &buyers, OrderId::floor_at(since_ms)).await?;
        for (order, buyer) in &note.orders {
            let expired = expired.get(buyer).copied().unwrap_or(0);
            if expired >= u64::from(rule.expiries) {
                self.enforce(*order, rule, &rule.why(expired)).await?;
            }
        }
        Ok(())
    }

    /// Repeated it does nothing more.
    async fn enforce(&self, order: OrderId, rule: HoarderRule, why: &str) -> Result<(), Refused> {
        let Some(step) = self.begin(order).await?.filter(Step::is_unpaid) else { return Ok(()) };
        let told = Told { who: "service", why: Some(why), ..Told::default() };
        let is_cancelled = match (rule.consequence, rule.units_max, rule.pay_minutes) {
            (Consequence::ShorterWindow, _, Some(minutes)) => return self.shorten(step, minutes, told).await,
            (Consequence::FewerUnits, Some(most), _) => self.units_with(&step.row).await? > u64::from(most),
            (Consequence::Refuse, ..) => true,
            _ => false,
        };
        if is_cancelled && ask_cancel(self, step, told).await?.1.is_some() {
            self.wake().notify_one();
        }
        Ok(())
    }

    /// Units of its lane that an order's buyer has with this order, not with later ones: of two at
    /// once the first stays.
    async fn units_with(&self, row: &OrderRow) -> Result<u64, SqlError> {
        let upto = OrderId::new(row.order.get() + 1).ok();
        let live = self.orders().live_of_buyer((row.tenant, row.buyer, row.sale), upto, LIVE_MAX).await?;
        let has = |other: &&OrderRow| other.lane == row.lane && !other.status.gives_back();
        Ok(live.iter().filter(has).map(|other| u64::from(other.quantity)).sum())
    }

    /// The order is to be paid within so many minutes of its promise. A look that comes late leaves
    /// time to pay, in whole minutes: there are few different times to pay, by which expiry finds
    /// what is due.
    async fn shorten(&self, mut step: Step<K::Sql>, minutes: u32, told: Told<'_>) -> Result<(), Refused> {
        let reserved_ms = step.row.reserved_at_ms;
        let least_ms = (step.now_ms + LEFT_MS).saturating_sub(reserved_ms);
        let window_ms = least_ms.div_ceil(MINUTE_MS).max(minutes.into()) * MINUTE_MS;
        let end_ms = reserved_ms + window_ms;
        if !self.orders().shorten(&mut step.tx, step.row.order, end_ms).await? {
            return Ok(());
        }
        for attempt in step.attempts().await?.iter().filter(|attempt| attempt.is_live()) {
            step.close_sooner(attempt, end_ms).await?;
        }
        step.tell(Told { what: "window_shortened", ..told }).await?;
        step.commit().await?;
        Ok(())
    }
}

/// Of an attempt that is open already: it is closed with the order's time to pay.
const CLOSE_FROM: &str = "UPDATE attempts SET close_from = ?, next_at = CASE WHEN next_at > ? THEN ? ELSE next_at END \
                          WHERE order_id = ? AND attempt = ? AND close_from > ?";

impl<S: Sql> Step<S> {
    async fn close_sooner(&mut self, attempt: &Attempt, end_ms: u64) -> Result<(), SqlError> {
        let end: Value = stored(end_ms)?.into();
        let of = [attempt.order.stored().into(), attempt.attempt.into(), end.clone()];
        let params = [end.clone(), end.clone(), end].into_iter().chain(of).collect();
        self.tx.exec(CLOSE_FROM, params).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_has_what_its_consequence_needs_and_nothing_else() {
        let refuse = HoarderRule {
            expiries: 3,
            within_days: 30,
            consequence: Consequence::Refuse,
            pay_minutes: None,
            units_max: None,
        };
        let shorter = HoarderRule { consequence: Consequence::ShorterWindow, pay_minutes: Some(2), ..refuse };
        let fewer = HoarderRule { consequence: Consequence::FewerUnits, units_max: Some(1), ..refuse };
        for rule in [refuse, shorter, fewer] {
            assert_eq!(rule.checked().unwrap(), rule);
        }
        let wrong = HoarderRule { units_max: Some(1), pay_minutes: None, ..shorter };
        let fields = wrong.checked().unwrap_err().field_errors;
        assert_eq!(fields.iter().map(|error| &*error.field).collect::<Vec<_>>(), ["pay_minutes", "units_max"]);
        assert!(HoarderRule { pay_minutes: Some(2), ..refuse }.checked().is_err());
    }
}
