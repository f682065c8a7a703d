//! Who gets the goods of an order: said by its buyer until they are sent, also before the order has
//! its row, and read by him and by merchants who may read buyers' data. It is sealed under the
//! buyer's key; its phone is found by a keyed digest of its last four digits.

use domain::{
    id::{BuyerId, OrderId, TenantId},
    order::{OrderRow, Status},
};
use kit::{
    access::Permission::{ReadBuyers, WriteBuyers},
    api::{Access, Call, Route},
    http::{Body, Mount, Response, StatusCode, reply},
    random::Random,
    seal::Damaged,
};
use serde::{Deserialize, Serialize};
use store::sql::{Tx, Value, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    ports::Kinds,
    refusals::{Asked, Stepped},
    refused::Refused,
    service::Life,
    shown::{OrderNow, secret},
    step::Told,
    vault::{Person, Vault},
};

const LOOK: &str = "SELECT r.sealed, k.sealed_key FROM recipients r JOIN recipient_keys k ON k.tenant = r.tenant AND \
                    k.buyer = r.buyer WHERE r.order_id = ? AND r.tenant = ? AND r.buyer = ?";
const FORGET_KEY: &str = "DELETE FROM recipient_keys WHERE tenant = ? AND buyer = ?";
const FORGET: &str = "DELETE FROM recipients WHERE tenant = ? AND buyer = ?";

/// Digits of a phone that it is found by.
const TAIL: usize = 4;

/// Who gets the goods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Recipient {
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    #[schema(pattern = "^\\+?[0-9]{6,15}$")]
    phone: String,
    /// As the carrier reads it.
    #[schema(min_length = 1, max_length = 500)]
    address: String,
}

/// An order's recipient.
#[derive(Debug, Serialize, ToSchema)]
struct RecipientShown {
    #[serde(flatten)]
    #[schema(inline)]
    order: OrderNow,
    recipient: Recipient,
    /// Whether the goods are sent, or the order is over: it stays as it is.
    is_frozen: bool,
}

#[derive(OpenApi)]
#[openapi(paths(put, show, show_to_merchant, erase))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Life<K>>>> {
    const OWN: &str = "/v1/orders/{order_id}/recipient";
    vec![
        Mount::put(OWN, "put_recipient", Route::new(Access::Public, |life, call| Box::pin(put(life, call))))
            .for_pages(),
        Mount::get(OWN, "recipient", Route::new(Access::Public, |life, call| Box::pin(show(life, call)))).for_pages(),
        Mount::get(
            "/v1/merchant/orders/{order_id}/recipient",
            "recipient_of_merchant",
            Route::new(Access::Needs(ReadBuyers), |life, call| Box::pin(show_to_merchant(life, call))),
        ),
        Mount::delete(
            "/v1/merchant/order-recipients/{buyer_id}",
            "erase_recipients",
            Route::new(Access::Needs(WriteBuyers), |life, call| Box::pin(erase(life, call))),
        ),
    ]
}

/// Says who gets the goods, until they are sent.
///
/// Also of an order that has no row yet. Repeated it changes nothing.
#[utoipa::path(
    put, path = "/v1/orders/{order_id}/recipient", operation_id = "put_recipient", tag = "orders",
    security(("buyer" = [])), request_body = Recipient,
    params(("order_id" = String, Path, description = "The order.")),
    responses((status = 200, body = RecipientShown), Asked)
)]
async fn put<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, buyer, order) = life.buyer(call)?;
    let recipient: Recipient = call.json()?;
    let (whose, random) = ((order, (tenant, buyer)), &life.ports().random);
    loop {
        let Some(step) = life.begin(order).await? else {
            life.may_be_pending(order, buyer)?;
            let mut tx = life.orders().begin(order).await?;
            keep(&mut tx, (life.vault(), random), whose, (&recipient, life.now_ms())).await?;
            if life.orders().lock(&mut tx, order).await?.is_some() {
                // Its row came meanwhile, and says what may still be done with it.
                tx.rollback().await;
                continue;
            }
            tx.commit().await?;
            return Ok(shown(OrderNow::pending(order), recipient, false));
        };
        let mut step = step.of(tenant, buyer)?;
        let is_known = read(step.tx.rows(LOOK, key(whose)).await?, life.vault())?.as_ref() == Some(&recipient);
        if is_frozen(&step.row) && !is_known {
            let detail = "the goods are sent, or the order is over; `current` shows it";
            return Err(Refused::conflict(detail, &OrderNow::of(&step.row)));
        }
        if !is_known {
            let now_ms = step.now_ms;
            keep(&mut step.tx, (life.vault(), random), whose, (&recipient, now_ms)).await?;
            step.tell(Told { who: "buyer", what: "recipient", ..Told::default() }).await?;
        }
        let row = step.commit().await?;
        return Ok(shown(OrderNow::of(&row), recipient, is_frozen(&row)));
    }
}

/// Who gets the goods.
#[utoipa::path(
    get, path = "/v1/orders/{order_id}/recipient", operation_id = "recipient", tag = "orders",
    security(("buyer" = [])), params(("order_id" = String, Path, description = "The order.")),
    responses((status = 200, body = RecipientShown), Stepped)
)]
async fn show<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, buyer, order) = life.buyer(call)?;
    let row = life.orders().find(&[order]).await?.remove(&order);
    if row.as_ref().is_some_and(|row| (row.tenant, row.buyer) != (tenant, buyer)) {
        return Err(Refused::not_found());
    }
    let recipient = life.recipient((order, (tenant, buyer))).await?;
    let now = row.as_ref().map_or_else(|| OrderNow::pending(order), OrderNow::of);
    Ok(shown(now, recipient, row.as_ref().is_some_and(is_frozen)))
}

/// Who gets the goods, to a merchant who may read buyers' data.
#[utoipa::path(
    get, path = "/v1/merchant/orders/{order_id}/recipient", operation_id = "recipient_of_merchant", tag = "orders",
    security(("merchant" = [])), params(("order_id" = String, Path, description = "The order.")),
    responses((status = 200, body = RecipientShown), Stepped)
)]
async fn show_to_merchant<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let (tenant, order) = Life::<K>::of_merchant(call)?;
    let row = life.orders().find(&[order]).await?.remove(&order).filter(|row| row.tenant == tenant);
    let row = row.ok_or_else(Refused::not_found)?;
    let recipient = life.recipient((order, (tenant, row.buyer))).await?;
    Ok(shown(OrderNow::of(&row), recipient, is_frozen(&row)))
}

/// Destroys all recipients of a buyer's orders, with the key that opens them.
#[utoipa::path(
    delete, path = "/v1/merchant/order-recipients/{buyer_id}", operation_id = "erase_recipients", tag = "orders",
    security(("merchant" = [])), params(("buyer_id" = String, Path, description = "The buyer's number.")),
    responses((status = 204, description = "There are none now."), Stepped)
)]
async fn erase<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let tenant = TenantId::new(call.actor.tenant.into()).map_err(|_none| Refused::not_found())?;
    let buyer: BuyerId = call.part("buyer_id")?;
    let person = || vec![Value::from(tenant.stored()), buyer.stored().into()];
    let mut tx = life.orders().begin_in(life.orders().map().home_of_buyer(buyer).shard).await?;
    // The key first, as who seals takes it first.
    tx.exec(FORGET_KEY, person()).await?;
    tx.exec(FORGET, person()).await?;
    tx.commit().await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

impl<K: Kinds> Life<K> {
    /// The phone of an order's recipient, with its middle hidden; `None`: nobody was said.
    pub(super) async fn masked_phone(&self, row: &OrderRow) -> Result<Option<String>, Refused> {
        let shard = self.orders().map().home_of_order(row.order).shard;
        let whose = key((row.order, (row.tenant, row.buyer)));
        let said = read(self.orders().beside(shard, LOOK, whose).await?, self.vault())?;
        Ok(said.map(|Recipient { phone, .. }| masked(&phone)))
    }

    async fn recipient(&self, whose: (OrderId, Person)) -> Result<Recipient, Refused> {
        let shard = self.orders().map().home_of_order(whose.0).shard;
        let rows = self.orders().beside(shard, LOOK, key(whose)).await?;
        read(rows, self.vault())?.ok_or_else(Refused::not_found)
    }
}

const fn is_frozen(row: &OrderRow) -> bool {
    !matches!(row.status, Status::PendingPayment | Status::Paid)
}

fn key((order, (tenant, buyer)): (OrderId, Person)) -> Vec<Value> {
    [order.stored(), tenant.stored(), buyer.stored()].map(Value::from).into()
}

fn read(rows: Vec<store::sql::Row>, vault: &Vault) -> Result<Option<Recipient>, Refused> {
    let Some(mut row) = rows.into_iter().next() else { return Ok(None) };
    let (sealed, sealed_key) = (row.bytes()?, row.bytes()?);
    // What serde says of it could name what it found.
    Ok(Some(serde_json::from_str(&vault.open(&sealed_key, &sealed)?).map_err(|_| Damaged)?))
}

async fn keep<T: Tx>(
    tx: &mut T,
    (vault, random): (&Vault, &impl Random),
    (order, person): (OrderId, Person),
    (recipient, now_ms): (&Recipient, u64),
) -> Result<(), Refused> {
    let text = serde_json::to_string(recipient).map_err(|_| Damaged)?;
    let sealed = vault.seal(tx, random, person, &text).await?;
    let mut values = key((order, person));
    values.extend([sealed.into(), tail_of(vault, &recipient.phone).as_str().into(), stored(now_ms)?.into()]);
    let set = ["sealed", "phone_tail", "updated_at"];
    Ok(tx.upsert("recipients", &["order_id", "tenant", "buyer"], &set, values).await?)
}

/// `138****1234`.
fn masked(phone: &str) -> String {
    let shown = |index: usize| index < 3 || index + TAIL >= phone.len();
    phone.chars().enumerate().map(|(index, digit)| if shown(index) { digit } else { '*' }).collect()
}

/// By which the phones of a list are found that end in these digits.
pub(crate) fn tail_of(vault: &Vault, phone: &str) -> String {
    let tail = phone.len().saturating_sub(TAIL);
    vault.digest("phone tail", phone.get(tail..).unwrap_or(phone))
}

fn shown(order: OrderNow, recipient: Recipient, is_frozen: bool) -> Response<Body> {
    secret(reply::json(StatusCode::OK, &RecipientShown { order, recipient, is_frozen }))
}
