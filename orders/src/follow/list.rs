use std::collections::BTreeMap;

use domain::{
    id::{BuyerId, OfferId, OrderId, SaleId, TenantId},
    order::{OrderRow, Status},
    shard::ShardId,
};
use jiff::Timestamp;
use kit::{
    access::Permission::ReadBuyers,
    api::{Call, Fault as _, lacking},
    digest::sha256,
    http::{Body, PageAsked, Query, Response, StatusCode, reply, wrong_parameter},
    problem::{Code, Problem},
};
use serde::Serialize;
use store::sql::{SqlError, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    service::Following,
    shown::{MerchantOrder, Read},
};
use crate::{
    blocks::Of,
    life::{Kinds, Refused, tail_of},
};

/// Orders that are looked at for a page, at most: a page of what is rare may hold less than it was
/// asked for, and still name the next one.
const LOOKED_AT_MAX: usize = 2_000;
/// Orders that are looked at at once, where some may not fit.
const LOOKED_AT_ONCE: usize = 256;
/// Orders that a number finds, at most.
const FOUND_MAX: u32 = 20;
/// Characters of such a number, at most: those of a provider's.
const NUMBER_LEN_MAX: usize = 64;

// By the index on the provider's numbers.
const PAID_BY: &str = "SELECT order_id FROM attempts WHERE provider_number = ? LIMIT ?";

// By the index on tails of phones; the buyer, because who said it may be another than who bought.
const BY_TAIL: &str = "SELECT order_id, buyer FROM recipients WHERE tenant = ? AND phone_tail = ? AND order_id < ? \
                       ORDER BY order_id DESC LIMIT ?";

const PARAMETERS: [&str; 10] =
    ["cursor", "limit", "number", "sale_id", "offer_id", "buyer_id", "status", "from", "to", "phone_tail"];
/// Those that say which orders.
pub(super) const FILTERS: [&str; 6] = ["sale_id", "offer_id", "buyer_id", "status", "from", "to"];

/// A page of orders, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct MerchantOrders {
    items: Vec<MerchantOrder>,
    /// Of the next page; missing on the last one. A page may hold less than `limit` and still have
    /// it, where few orders fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

#[derive(OpenApi)]
#[openapi(paths(list))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// Which orders are asked for.
pub(super) struct Asked {
    tenant: TenantId,
    of: Of,
    buyer: Option<BuyerId>,
    sale: Option<SaleId>,
    offer: Option<OfferId>,
    status: Option<Status>,
    /// What the recipient's phone ends in.
    phone_tail: Option<String>,
    /// Ids from this one on.
    from: u64,
    /// Ids below this one.
    pub(super) before: u64,
}

impl Asked {
    fn fits(&self, row: &OrderRow) -> bool {
        row.tenant == self.tenant
            && row.order.get() >= self.from
            && self.buyer.is_none_or(|buyer| row.buyer == buyer)
            && self.sale.is_none_or(|sale| row.sale == sale)
            && self.offer.is_none_or(|offer| row.offer == offer)
            && self.status.is_none_or(|status| row.status == status)
    }

    /// Whether every order that is looked at fits.
    const fn takes_all(&self) -> bool {
        self.status.is_none()
            && self.buyer.is_none()
            && self.phone_tail.is_none()
            && (self.sale.is_none() || self.offer.is_none())
    }
}

/// Orders of the shop.
///
/// Newest first, over all shards. An order is listed some two seconds after it has its row, and
/// shown as its row is now. `number` finds orders by their id, by the number of an attempt or a
/// refund, or by the provider's transaction number, and takes no other parameter. `phone_tail`
/// needs the permission `read_buyers`.
#[utoipa::path(
    get, path = "/v1/merchant/orders", operation_id = "merchant_orders", tag = "orders", security(("merchant" = [])),
    params(
        PageAsked,
        ("number" = Option<String>, Query, description = "An order's id, or a number of its payment.",
            nullable = false, min_length = 1, max_length = 64),
        ("sale_id" = Option<String>, Query, nullable = false, pattern = "^[1-9][0-9]{0,18}$"),
        ("offer_id" = Option<String>, Query, nullable = false, pattern = "^[1-9][0-9]{0,18}$"),
        ("buyer_id" = Option<String>, Query, nullable = false, pattern = "^[1-9][0-9]{0,18}$"),
        ("status" = Option<String>, Query, description = "As orders show it.", nullable = false,
            pattern = "^[a-z_]{1,20}$"),
        ("from" = Option<String>, Query, description = "Promised then or later, RFC 3339.", nullable = false,
            max_length = 40),
        ("to" = Option<String>, Query, description = "Promised before, RFC 3339.", nullable = false, max_length = 40),
        ("phone_tail" = Option<String>, Query, description = "The last four digits of the recipient's phone.",
            nullable = false, pattern = "^[0-9]{4}$"),
    ),
    responses((status = 200, body = MerchantOrders), Read)
)]
pub(super) async fn list<K: Kinds>(following: &Following<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let query = call.query(&PARAMETERS)?;
    let sees_buyers = call.actor.permissions.has(ReadBuyers);
    Ok(reply::json(StatusCode::OK, &listed(following, Following::<K>::tenant(call)?, &query, sees_buyers).await?))
}

/// A page of a tenant's orders. By the end of a phone they are found by who may see buyers.
async fn listed<K: Kinds>(
    following: &Following<K>,
    tenant: TenantId,
    query: &Query<'_>,
    sees_buyers: bool,
) -> Result<MerchantOrders, Refused> {
    if let Some(number) = query.get("number") {
        let items = by_number(following, tenant, number_alone(query, number)?).await?;
        return Ok(MerchantOrders { items: items.iter().map(MerchantOrder::from).collect(), next_cursor: None });
    }
    let (asked, limit) = read(query, tenant)?;
    if asked.phone_tail.is_some() && !sees_buyers {
        return Err(lacking(ReadBuyers).into());
    }
    let (rows, next) = page(following, &asked, limit).await?;
    let next_cursor = next.map(|last| cursor(tenant, last));
    Ok(MerchantOrders { items: rows.iter().map(MerchantOrder::from).collect(), next_cursor })
}

impl<K: Kinds> Following<K> {
    /// What `GET /v1/merchant/orders` answers with this query, for another service of this process
    /// that has admitted who asks. It does not look for phones.
    ///
    /// # Errors
    /// As the route refuses.
    pub async fn orders_of(&self, tenant: TenantId, query: &str) -> Result<MerchantOrders, Box<Problem>> {
        let query = Query::parse(Some(query), &PARAMETERS)?;
        listed(self, tenant, &query, false).await.map_err(|refused| refused.into_problem(true))
    }
}

/// What a query asks for, and how long its page is.
pub(super) fn read(query: &Query<'_>, tenant: TenantId) -> Result<(Asked, usize), Box<Problem>> {
    let mut wrong = Vec::new();
    let (sale, offer) = (id(query, "sale_id", &mut wrong), id(query, "offer_id", &mut wrong));
    let buyer = id(query, "buyer_id", &mut wrong);
    let status = query.get("status").and_then(|name| {
        let named = (1..=u8::MAX).map_while(Status::from_stored).find(|status| status.as_str() == name);
        named.or_else(|| noted(&mut wrong, "status", "give a status as orders show it"))
    });
    let phone_tail = query.get("phone_tail").and_then(|tail| {
        let fits = tail.len() == 4 && tail.bytes().all(|digit| digit.is_ascii_digit());
        fits.then(|| tail.to_owned()).or_else(|| noted(&mut wrong, "phone_tail", "give the last four digits"))
    });
    let (from, to) = (moment(query, "from", &mut wrong), moment(query, "to", &mut wrong));
    let page = PageAsked::of(query).map_err(|problem| wrong.extend(problem.field_errors)).ok();
    let cursor = page.as_ref().and_then(|page| page.cursor.as_deref());
    let last = cursor.and_then(|cursor| {
        named_by(tenant, cursor).or_else(|| {
            wrong.extend(PageAsked::wrong_cursor().field_errors);
            None
        })
    });
    if !wrong.is_empty() {
        let mut problem = Problem::new(Code::InvalidRequest, "the query cannot be understood");
        problem.field_errors = wrong;
        return Err(problem.into());
    }
    let of = match (offer, sale) {
        (Some(offer), _) => Of::Offer(offer),
        (None, Some(sale)) => Of::Sale(sale),
        (None, None) => Of::Tenant,
    };
    let before = to.map_or(OrderId::MAX, OrderId::floor_at).min(last.unwrap_or(OrderId::MAX));
    let limit = page.map_or(1, |page| usize::try_from(page.limit).unwrap_or(usize::MAX));
    let from = from.map_or(0, OrderId::floor_at);
    Ok((Asked { tenant, of, buyer, sale, offer, status, phone_tail, from, before }, limit))
}

type Wrong = Vec<kit::problem::FieldError>;

fn noted<T>(wrong: &mut Wrong, name: &'static str, message: &'static str) -> Option<T> {
    wrong.extend(wrong_parameter(name, message).field_errors);
    None
}

fn id<T: std::str::FromStr>(query: &Query<'_>, name: &'static str, wrong: &mut Wrong) -> Option<T> {
    query.get(name)?.parse().ok().or_else(|| noted(wrong, name, "give an id, as orders show it"))
}

/// A moment of the query, in epoch milliseconds.
fn moment(query: &Query<'_>, name: &'static str, wrong: &mut Wrong) -> Option<u64> {
    let moment = query.get(name)?.parse::<Timestamp>().ok();
    let ms = moment.and_then(|moment| u64::try_from(moment.as_millisecond()).ok());
    ms.or_else(|| noted(wrong, name, "give it as in 2026-11-11T00:00:00Z"))
}

fn number_alone<'a>(query: &Query<'_>, number: &'a str) -> Result<&'a str, Box<Problem>> {
    if PARAMETERS.iter().any(|name| *name != "number" && query.get(name).is_some()) {
        return Err(wrong_parameter("number", "give it without other parameters: it names the order"));
    }
    let fits = (1..=NUMBER_LEN_MAX).contains(&number.chars().count());
    fits.then_some(number).ok_or_else(|| wrong_parameter("number", format!("give 1 to {NUMBER_LEN_MAX} characters")))
}

/// A page of what fits, and the last order that was looked at where there may be more.
pub(super) async fn page<K: Kinds>(
    following: &Following<K>,
    asked: &Asked,
    limit: usize,
) -> Result<(Vec<OrderRow>, Option<OrderId>), SqlError> {
    let (mut rows, mut looked_at, mut before) = (Vec::with_capacity(limit), 0, asked.before);
    // One more than the page shows whether it is the last.
    let at_once = if asked.takes_all() { limit + 1 } else { LOOKED_AT_ONCE };
    loop {
        let (ids, mut found) = next(following, asked, before, at_once).await?;
        for id in &ids {
            if rows.len() == limit {
                return Ok((rows, OrderId::new(before).ok()));
            }
            before = id.get();
            looked_at += 1;
            rows.extend(found.remove(id).filter(|row| asked.fits(row)));
        }
        let is_last = ids.len() < at_once || before <= asked.from;
        if is_last || looked_at >= LOOKED_AT_MAX {
            return Ok((rows, OrderId::new(before).ok().filter(|_| !is_last)));
        }
    }
}

type Found = std::collections::HashMap<OrderId, OrderRow>;

/// The next orders below `before`, falling, with their rows.
async fn next<K: Kinds>(
    following: &Following<K>,
    asked: &Asked,
    before: u64,
    wanted: usize,
) -> Result<(Vec<OrderId>, Found), SqlError> {
    if let Some(tail) = &asked.phone_tail {
        return by_tail(following, asked.tenant, tail, (before, wanted)).await;
    }
    if let Some(buyer) = asked.buyer {
        // All of a buyer's rows are in one table, and found by their buyer.
        let (before, limit) = (OrderId::new(before).ok(), u32::try_from(wanted).unwrap_or(u32::MAX));
        let rows = following.orders().of_buyer(asked.tenant, buyer, before, limit).await?;
        let ids = rows.iter().map(|row| row.order).collect();
        return Ok((ids, rows.into_iter().map(|row| (row.order, row)).collect()));
    }
    let ids = following.blocks().page((asked.tenant, asked.of), (asked.from, before), wanted).await?;
    let found = following.orders().find(&ids).await?;
    Ok((ids, found))
}

/// The next orders whose recipients have phones that end so: the newest of all shards' newest.
async fn by_tail<K: Kinds>(
    following: &Following<K>,
    tenant: TenantId,
    tail: &str,
    (before, wanted): (u64, usize),
) -> Result<(Vec<OrderId>, Found), SqlError> {
    let (orders, tail) = (following.orders(), tail_of(following.vault(), tail));
    let mut said = BTreeMap::<OrderId, Vec<BuyerId>>::new();
    for shard in (0..orders.map().shards()).map(ShardId) {
        let of = vec![tenant.stored().into(), tail.as_str().into(), stored(before)?.into()];
        let limit = u32::try_from(wanted).unwrap_or(u32::MAX).into();
        for mut row in orders.beside(shard, BY_TAIL, of.into_iter().chain([limit]).collect()).await? {
            said.entry(row.id(OrderId::new)?).or_default().push(row.id(BuyerId::new)?);
        }
    }
    let ids: Vec<OrderId> = said.keys().rev().take(wanted).copied().collect();
    let mut found = orders.find(&ids).await?;
    found.retain(|id, row| said.get(id).is_some_and(|buyers| buyers.contains(&row.buyer)));
    Ok((ids, found))
}

/// Orders of the tenant that a number names.
async fn by_number<K: Kinds>(
    following: &Following<K>,
    tenant: TenantId,
    number: &str,
) -> Result<Vec<OrderRow>, SqlError> {
    // Numbers of attempts and refunds begin with their order's id.
    let own = number.split_once('_').map_or(number, |(order, _)| order);
    let mut ids: Vec<OrderId> = own.parse().into_iter().collect();
    let orders = following.orders();
    for shard in (0..orders.map().shards()).map(ShardId) {
        for mut row in orders.beside(shard, PAID_BY, vec![number.into(), FOUND_MAX.into()]).await? {
            ids.push(row.id(OrderId::new)?);
        }
    }
    let found = orders.find(&ids).await?.into_values().filter(|row| row.tenant == tenant);
    let mut found: Vec<OrderRow> = found.collect();
    found.sort_unstable_by_key(|row| std::cmp::Reverse(row.order));
    found.truncate(FOUND_MAX as usize);
    Ok(found)
}

/// Where a list goes on: below this order. It names the tenant too, so that a cursor of another is
/// told from one's own; it opens nothing.
fn cursor(tenant: TenantId, last: OrderId) -> String {
    format!("{:016x}{:016x}", check_of(tenant, last.get()), last.get())
}

fn named_by(tenant: TenantId, cursor: &str) -> Option<u64> {
    let is_plain = cursor.len() == 32 && cursor.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let (check, last) = cursor.split_at_checked(16).filter(|_| is_plain)?;
    let (check, last) = (u64::from_str_radix(check, 16).ok()?, u64::from_str_radix(last, 16).ok()?);
    (last <= OrderId::MAX && check == check_of(tenant, last)).then_some(last)
}

fn check_of(tenant: TenantId, last: u64) -> u64 {
    let digest = sha256(format!("list of orders {tenant} {last}").as_bytes());
    digest[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
