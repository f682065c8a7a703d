//! The switch of a shop: with one request its commissions or its withdrawals stop. What it stops
//! and what goes on stands in `docs/abuse.md`.

use kit::{
    access::Permission,
    api::{Access, Call, Route},
    clock::rfc3339,
    http::{Body, Mount, Response, StatusCode, reply},
};
use serde::{Deserialize, Serialize};
use store::sql::{Row, Sql as _, SqlError, Tx as _, stored};
use utoipa::{OpenApi, ToSchema};

use super::{
    Distribution, Kinds, LEAD_MS, Refused,
    answers::{Changed, Read},
    change::Begun,
};

const LAST: &str = "SELECT earning, withdrawing, from_ms, who, reason FROM shop_switches WHERE tenant = ? \
                    ORDER BY from_ms DESC LIMIT 1";
const INSERT: &str = "INSERT INTO shop_switches (tenant, from_ms, earning, withdrawing, who, reason) \
                      VALUES (?, ?, ?, ?, ?, ?)";

/// What shall be on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSwitch {
    /// Off: orders from two seconds ahead on pay nothing, for ever; nothing matures and nothing is
    /// credited until it is on again. Refunds still take back.
    earning: bool,
    /// Off: no withdrawal is taken, approved or sent until it is on again. Bills that are out are
    /// followed to their end, and what was asked for can be declined.
    withdrawing: bool,
    /// Why; kept in the history. No personal data.
    #[schema(min_length = 1, max_length = 191)]
    reason: String,
}

/// What is on.
#[derive(Debug, Serialize, ToSchema)]
struct SwitchShown {
    /// New orders pay, what is due matures, credits are posted.
    earning: bool,
    /// Withdrawals are taken, approved and sent.
    withdrawing: bool,
    /// Orders from here on pay or do not, RFC 3339; missing: nobody has ever switched.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    from: Option<String>,
    /// Who: `user:7`, `key:7`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    who: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
}

#[derive(OpenApi)]
#[openapi(paths(show, put))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Distribution<K>>>> {
    const PATH: &str = "/v1/merchant/commissions/switch";
    let (read, write) = (Access::Needs(Permission::ReadPayments), Access::Needs(Permission::WritePayments));
    vec![
        Mount::get(PATH, "commission_switch", Route::new(read, |service, call| Box::pin(show(service, call)))),
        Mount::put(PATH, "put_commission_switch", Route::new(write, |service, call| Box::pin(put(service, call)))),
    ]
}

/// The last switch, and from when on it holds for orders.
fn read(row: Option<Row>) -> Result<(SwitchShown, i64), SqlError> {
    let Some(mut row) = row else {
        return Ok((SwitchShown { earning: true, withdrawing: true, from: None, who: None, reason: None }, 0));
    };
    let (earning, withdrawing, from_ms) = (row.int()? != 0, row.int()? != 0, row.int()?);
    let from = Some(rfc3339(from_ms.unsigned_abs()));
    Ok((SwitchShown { earning, withdrawing, from, who: Some(row.text()?), reason: Some(row.text()?) }, from_ms))
}

/// Whether the shop's commissions and withdrawals are on, since when, by whom and why.
#[utoipa::path(
    get, path = "/v1/merchant/commissions/switch", operation_id = "commission_switch", tag = "commissions",
    security(("merchant" = [])), responses((status = 200, body = SwitchShown), Read)
)]
async fn show<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let tenant = Distribution::<K>::tenant(call)?;
    let (shown, _) = read(service.sql().rows(LAST, vec![tenant.stored().into()]).await?.pop())?;
    Ok(reply::json(StatusCode::OK, &shown))
}

/// Switches the shop's commissions and withdrawals on or off, at once.
#[utoipa::path(
    put, path = "/v1/merchant/commissions/switch", operation_id = "put_commission_switch", tag = "commissions",
    security(("merchant" = [])), request_body = NewSwitch, responses((status = 200, body = SwitchShown), Changed)
)]
async fn put<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let tenant = Distribution::<K>::tenant(call)?;
    let asked: NewSwitch = call.json()?;
    let mut change = match service.begin(call, tenant).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let (before, last) = read(change.tx.rows(LAST, vec![tenant.stored().into()]).await?.pop())?;
    // Moments of the history rise, whatever the clock does.
    let from_ms = stored(change.now_ms + LEAD_MS)?.max(last + 1);
    let row = vec![
        tenant.stored().into(),
        from_ms.into(),
        u8::from(asked.earning).into(),
        u8::from(asked.withdrawing).into(),
        (&*change.who).into(),
        (&*asked.reason).into(),
    ];
    if !change.tx.insert_absent(INSERT, row).await? {
        return Err(Refused::conflict("somebody switched in the same moment: look, then do it again"));
    }
    let after = SwitchShown {
        earning: asked.earning,
        withdrawing: asked.withdrawing,
        from: Some(rfc3339(from_ms.unsigned_abs())),
        who: Some(change.who.clone()),
        reason: Some(asked.reason),
    };
    change.commit(("commissions.shop_switch", "switch".to_owned()), Some(&before), (StatusCode::OK, &after)).await
}
