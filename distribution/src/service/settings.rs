//! A shop's settings: how distributors join and are bound, and its rules of withdrawals.

use domain::id::TenantId;
use kit::{
    access::Permission,
    api::{Access, Call, Route, tagged},
    http::{Body, Mount, Response, StatusCode, reply},
};
use serde::{Deserialize, Serialize};
use store::sql::{Lock, Row, Sql as _, SqlError, Tx, Value};
use utoipa::{OpenApi, ToSchema};

use super::{
    Distribution, Kinds, Refused,
    answers::{Changed, Read},
    change::Begun,
};
use crate::{book::DAY_MS, settle::Rules};

const FIND: &str = "SELECT document, version FROM settings WHERE tenant = ?";

/// Settings; amounts in minor units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// Whoever asks is a distributor at once; otherwise the shop agrees.
    pub(super) joins_at_once: bool,
    /// Days for which a share code holds.
    #[schema(minimum = 1, maximum = 3_650)]
    pub(super) share_days: u16,
    /// Days for which a referral keeps, once bound; missing: for ever. The shop rebinds always.
    #[schema(minimum = 0, maximum = 3_650, nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) protected_days: Option<u16>,
    /// Least amount of a withdrawal.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    pub(super) withdraw_least: i64,
    /// Greatest amount of a person in a day.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_i64)]
    pub(super) withdraw_day_max: i64,
    /// From this amount on two people approve.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    pub(super) two_approve_from: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            joins_at_once: false,
            share_days: 30,
            protected_days: None,
            withdraw_least: 100,
            withdraw_day_max: 500_000,
            two_approve_from: 100_000,
        }
    }
}

impl Settings {
    /// The rules of withdrawals.
    pub(super) fn rules(&self) -> Rules {
        Rules { least: self.withdraw_least, day_max: self.withdraw_day_max, two_from: self.two_approve_from }
    }

    /// How long a referral is protected, milliseconds.
    pub(super) fn protected_ms(&self) -> Option<u64> {
        self.protected_days.map(|days| u64::from(days) * DAY_MS)
    }
}

fn read(row: Option<Row>) -> Result<(Settings, u64), SqlError> {
    let Some(mut row) = row else { return Ok((Settings::default(), 0)) };
    let document = serde_json::from_str(&row.text()?);
    let document = document.map_err(|error| SqlError::Broken(format!("settings do not read: {error}").into()))?;
    Ok((document, row.number()?))
}

/// The settings of a tenant.
pub(super) async fn of<T: Tx>(tx: &mut T, tenant: TenantId) -> Result<Settings, SqlError> {
    let row = tx.rows(FIND, vec![tenant.stored().into()]).await?.into_iter().next();
    read(row).map(|(settings, _)| settings)
}

#[derive(OpenApi)]
#[openapi(paths(show, put))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Distribution<K>>>> {
    const PATH: &str = "/v1/merchant/commissions/settings";
    let (read, write) = (Access::Needs(Permission::ReadPayments), Access::Needs(Permission::WritePayments));
    vec![
        Mount::get(PATH, "commission_settings", Route::new(read, |service, call| Box::pin(show(service, call)))),
        Mount::put(PATH, "put_commission_settings", Route::new(write, |service, call| Box::pin(put(service, call)))),
    ]
}

/// The shop's settings of commissions.
#[utoipa::path(
    get, path = "/v1/merchant/commissions/settings", operation_id = "commission_settings", tag = "commissions",
    security(("merchant" = [])), responses((status = 200, body = Settings), Read)
)]
async fn show<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let tenant = Distribution::<K>::tenant(call)?;
    let row = service.sql().rows(FIND, vec![tenant.stored().into()]).await?.into_iter().next();
    let (settings, version) = read(row)?;
    Ok(tagged(reply::json(StatusCode::OK, &settings), version))
}

/// Puts the shop's settings.
#[utoipa::path(
    put, path = "/v1/merchant/commissions/settings", operation_id = "put_commission_settings", tag = "commissions",
    security(("merchant" = [])), request_body = Settings, params(("If-Match" = Option<String>, Header)),
    responses((status = 200, body = Settings), Changed)
)]
async fn put<K: Kinds>(service: &Distribution<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let tenant = Distribution::<K>::tenant(call)?;
    let asked: Settings = call.json()?;
    let expected = call.expected_version()?;
    let mut change = match service.begin(call, tenant).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    let json =
        |settings: &Settings| serde_json::to_string(settings).map_err(|e| SqlError::Broken(e.to_string().into()));
    // A row to lock, also for the first of two who come at once.
    let first = vec![Value::from(tenant.stored()), (&*json(&Settings::default())?).into()];
    change.tx.insert_absent("INSERT INTO settings (tenant, document, version) VALUES (?, ?, 0)", first).await?;
    let row = change.tx.lock_rows(FIND, vec![tenant.stored().into()], Lock::Wait).await?.into_iter().next();
    let (before, version) = read(row)?;
    Refused::unless_seen(expected, version, &before)?;
    let update = "UPDATE settings SET document = ?, version = version + 1 WHERE tenant = ?";
    change.tx.exec(update, vec![(&*json(&asked)?).into(), tenant.stored().into()]).await?;
    let what = ("commissions.settings", "settings".to_owned());
    Ok(tagged(change.commit(what, Some(&before), (StatusCode::OK, &asked)).await?, version + 1))
}
