//! Vouchers: a shop's server signs that it pays a part of one order. The buyer gives the voucher
//! with his wish to pay, and pays the rest; stock knows nothing of it. Who follows the events hears
//! at the payment that so much of the price is not the shop's, as of a part that went back: so
//! commissions are of the net, and refunds give back what was paid.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::id::{OrderId, TenantId};
use kit::{
    access::Permission::WritePayments,
    api::{Access, Call, Route},
    digest::hmac_sha256,
    http::{Body, Mount, Response, StatusCode, reply},
    problem::{Code, Problem},
};
use serde::{Deserialize, Serialize};
use store::sql::{Sql, SqlError, Tx as _, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    ports::Kinds,
    refusals::Stepped,
    refused::Refused,
    service::Life,
    shown::{OrderNow, secret},
    step::{Step, Told},
};

/// Characters of its id, at most.
const ID_MAX: usize = 64;

const LOOK: &str = "SELECT voucher, amount FROM vouchers WHERE order_id = ?";
const TAKE: &str = "INSERT INTO vouchers (order_id, voucher, amount, taken_at) VALUES (?, ?, ?, ?)";

/// What a voucher says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    /// The shop's own number for it.
    id: String,
    /// The order that it is for.
    order_id: String,
    /// What the shop pays, in minor units of the order's currency.
    amount: i64,
    /// The last second at which it is taken, of the epoch.
    expires_at: u64,
}

/// What a shop's server signs vouchers with.
#[derive(Debug, Serialize, ToSchema)]
struct VoucherKey {
    /// Key of HMAC-SHA-256, in base64url. Whoever has it makes vouchers of the shop.
    key: String,
}

#[derive(OpenApi)]
#[openapi(paths(show_key))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Life<K>>>> {
    vec![Mount::get(
        "/v1/merchant/order-vouchers/key",
        "voucher_key",
        Route::new(Access::Needs(WritePayments), |life, call| Box::pin(show_key(life, call))),
    )]
}

/// The key that a shop's server signs vouchers with.
///
/// A voucher is `PAYLOAD.SIGNATURE`, both in base64url: the payload is the JSON
/// `{"id", "order_id", "amount", "expires_at"}`, the amount in minor units, the time in seconds;
/// the signature is HMAC-SHA-256 of the payload's characters.
#[utoipa::path(
    get, path = "/v1/merchant/order-vouchers/key", operation_id = "voucher_key", tag = "orders",
    security(("merchant" = [])), responses((status = 200, body = VoucherKey), Stepped)
)]
async fn show_key<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let tenant = TenantId::new(call.actor.tenant.into()).map_err(|_none| Refused::not_found())?;
    let key = URL_SAFE_NO_PAD.encode(life.voucher_key(tenant));
    Ok(secret(reply::json(StatusCode::OK, &VoucherKey { key })))
}

fn wrong(message: &'static str) -> Refused {
    Problem::new(Code::InvalidRequest, "the voucher is not taken").with_field("voucher", message).into()
}

/// What a voucher says, if the shop signed it.
fn read(voucher: &str, key: &[u8]) -> Option<Claims> {
    let (payload, signature) = voucher.split_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let signed = hmac_sha256(key, payload.as_bytes());
    aws_lc_rs::constant_time::verify_slices_are_equal(&signature, &signed).ok()?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

impl<S: Sql> Step<S> {
    /// What the shop pays of this order: the id of its voucher, and the amount.
    pub(super) async fn voucher(&mut self) -> Result<Option<(String, i64)>, SqlError> {
        let found = self.tx.rows(LOOK, vec![self.row.order.stored().into()]).await?.into_iter().next();
        found.map(|mut row| Ok((row.text()?, row.int()?))).transpose()
    }
}

impl<K: Kinds> Life<K> {
    fn voucher_key(&self, tenant: TenantId) -> [u8; 32] {
        self.vault().secret_of("voucher key", &tenant.to_string())
    }

    /// Takes a voucher for an order, once: the same again is the same. What the shop pays of the
    /// order by the voucher that it has.
    pub(super) async fn take_voucher(&self, step: &mut Step<K::Sql>, voucher: Option<&str>) -> Result<i64, Refused> {
        let taken = step.voucher().await?;
        let Some(voucher) = voucher else { return Ok(taken.map_or(0, |(_, amount)| amount)) };
        let claims = read(voucher, &self.voucher_key(step.row.tenant));
        let claims = claims.ok_or_else(|| wrong("this shop did not sign it"))?;
        if claims.order_id.parse::<OrderId>().ok() != Some(step.row.order) {
            return Err(wrong("it is for another order"));
        }
        if let Some((id, amount)) = taken {
            if id == claims.id {
                return Ok(amount);
            }
            let detail = "this order has a voucher already: an order takes one";
            return Err(Refused::conflict(detail, &OrderNow::of(&step.row)));
        }
        if step.now_ms / 1_000 > claims.expires_at {
            return Err(wrong("its time is over"));
        }
        if claims.amount <= 0 || claims.id.is_empty() || claims.id.chars().count() > ID_MAX {
            return Err(wrong("it names no amount, or no id of up to 64 characters"));
        }
        let total = step.row.unit_price.times(step.row.quantity);
        if total.is_none_or(|total| claims.amount >= total.amount) {
            let detail = "the voucher leaves nothing to pay; give one over less";
            return Err(Refused::conflict(detail, &OrderNow::of(&step.row)));
        }
        let row = vec![step.row.order.stored().into(), claims.id.as_str().into(), claims.amount.into()];
        let row = row.into_iter().chain([stored(step.now_ms)?.into()]).collect();
        step.tx.exec(TAKE, row).await?;
        let (number, amount) = (Some(claims.id.as_str()), Some(claims.amount));
        step.tell(Told { who: "buyer", what: "voucher", number, amount, why: None }).await?;
        Ok(claims.amount)
    }

    /// The order is paid: what a voucher paid of it is not the shop's.
    pub(super) async fn tell_voucher(&self, step: &mut Step<K::Sql>) -> Result<(), Refused> {
        match step.voucher().await? {
            Some((_, amount)) => {
                // After the event of the payment, which has the millisecond before.
                step.now_ms += 1;
                self.tell_part_refund(step, 0, amount).await
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(payload: &str, key: &[u8]) -> String {
        let payload = URL_SAFE_NO_PAD.encode(payload);
        format!("{payload}.{}", URL_SAFE_NO_PAD.encode(hmac_sha256(key, payload.as_bytes())))
    }

    #[test]
    fn a_voucher_is_read_as_the_shop_signed_it_and_not_otherwise() {
        let text = r#"{"id":"a","order_id":"5","amount":3,"expires_at":9}"#;
        let voucher = signed(text, b"key");
        assert_eq!(read(&voucher, b"key").unwrap().amount, 3);
        assert!(read(&voucher, b"other").is_none());
        let (payload, signature) = voucher.split_once('.').unwrap();
        let raised = URL_SAFE_NO_PAD.encode(text.replace('3', "9"));
        assert!(read(&format!("{raised}.{signature}"), b"key").is_none());
        assert!(read(payload, b"key").is_none() && read("", b"key").is_none() && read(".", b"key").is_none());
        assert!(read(&signed("{}", b"key"), b"key").is_none());
    }
}
