//! Attempts to pay: their rows.

use domain::{
    id::{OrderId, TenantId},
    money::Money,
    order::Status,
};
use store::sql::{Row, Sql, SqlError, Tx as _, Value, stored};

use super::step::Step;
use crate::payment::{
    Charge, Method, Number, ProviderKind,
    attempt::{AttemptState, Window},
    notice::Ours,
};

const COLUMNS: &str = "order_id, attempt, tenant, method, state, amount, currency, opened, provider_number, \
                       expires_at, close_from, after_close, paid_at, next_at, payer";
const INSERT: &str = "INSERT INTO attempts (order_id, attempt, tenant, provider, number, method, state, amount, \
                      currency, expires_at, close_from, next_at, created_at, payer) \
                      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const SAVE: &str = "UPDATE attempts SET state = ?, opened = ?, provider_number = ?, after_close = ?, paid_at = ?, \
                    next_at = ? WHERE order_id = ? AND attempt = ?";

/// Until the answer of a request counts as lost.
const SILENT_MS: u64 = 5_000;
/// How often an open attempt is asked about, in case its notice is lost.
const ASKED_EVERY_MS: u64 = 60_000;

/// How a buyer can pay, by the name in the row.
const METHODS: [(&str, ProviderKind); 7] = [
    ("simulated", ProviderKind::Simulated),
    ("wechat_jsapi", ProviderKind::Wechat),
    ("wechat_h5", ProviderKind::Wechat),
    ("wechat_native", ProviderKind::Wechat),
    ("alipay_wap", ProviderKind::Alipay),
    ("alipay_page", ProviderKind::Alipay),
    ("alipay_precreate", ProviderKind::Alipay),
];

/// A method by its name.
pub(super) fn method(name: &str) -> Option<(&'static str, ProviderKind)> {
    METHODS.into_iter().find(|(known, _)| *known == name)
}

/// An attempt.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) order: OrderId,
    /// Counted within the order, from 1.
    pub(super) attempt: u32,
    pub(super) tenant: TenantId,
    pub(super) method: (&'static str, ProviderKind),
    /// Who pays, where the provider is told: the buyer's id in the shop's app, or the address that
    /// the buyer asks from. Personal data.
    pub(super) payer: Option<String>,
    pub(super) state: AttemptState,
    pub(super) amount: Money,
    /// What the buyer's device does next, as JSON.
    pub(super) opened: Option<String>,
    pub(super) provider_number: Option<String>,
    pub(super) window: Window,
    /// What the order becomes when it is closed.
    pub(super) after_close: Option<Status>,
    pub(super) paid_ms: Option<u64>,
    /// When it is looked at next.
    pub(super) next_ms: Option<u64>,
}

impl Attempt {
    /// Whether the buyer can or may still be able to pay by it.
    pub(super) const fn is_live(&self) -> bool {
        !matches!(self.state, AttemptState::Paid | AttemptState::Closed)
    }

    /// The provider.
    pub(super) const fn provider(&self) -> ProviderKind {
        self.method.1
    }

    /// The number that the provider is asked with: it names the order, and so its shard.
    pub(super) fn number(&self) -> Result<Number, SqlError> {
        let number = format!("{}_{}", self.order, self.attempt);
        number.parse().map_err(|_| SqlError::Broken(format!("{number} is no number of an attempt").into()))
    }

    /// Which attempt a number names.
    pub(super) fn named(number: &Number) -> Option<(OrderId, u32)> {
        let (order, attempt) = number.as_str().split_once('_')?;
        Some((order.parse().ok()?, attempt.parse().ok()?))
    }

    /// What a notice is held against.
    pub(super) fn ours(&self) -> Result<Ours, SqlError> {
        let (tenant, provider, amount, state) = (self.tenant, self.provider(), self.amount, self.state);
        Ok(Ours { tenant, provider, number: self.number()?, amount, state })
    }

    /// How it is paid: with the method's name all that opening it again needs stands in the row.
    fn method(&self) -> Result<Method, SqlError> {
        let payer = || {
            let missing = || format!("attempt {} of order {} has no payer", self.attempt, self.order);
            self.payer.clone().ok_or_else(|| SqlError::Broken(missing().into()))
        };
        Ok(match self.method.0 {
            "wechat_jsapi" => Method::WechatJsapi { openid: payer()? },
            "wechat_h5" => Method::WechatH5 { client_address: payer()? },
            "wechat_native" => Method::WechatNative,
            "alipay_wap" => Method::AlipayWap,
            "alipay_page" => Method::AlipayPage,
            "alipay_precreate" => Method::AlipayPrecreate,
            _ => Method::Simulated,
        })
    }

    /// What the provider is asked to open: the same each time.
    pub(super) fn charge(&self) -> Result<Charge, SqlError> {
        Ok(Charge {
            number: self.number()?,
            amount: self.amount,
            description: format!("Order {}", self.order),
            expires_ms: self.window.expires_ms,
            method: self.method()?,
            return_url: None,
            is_shared: false,
        })
    }

    /// Says when it is looked at next.
    pub(super) fn schedule(&mut self, now_ms: u64) {
        self.next_ms = match self.state {
            AttemptState::Paid | AttemptState::Closed => None,
            AttemptState::Open if self.after_close.is_none() => {
                Some((now_ms + ASKED_EVERY_MS).min(self.window.close_from_ms).max(now_ms + SILENT_MS))
            }
            _ => Some(now_ms + SILENT_MS),
        };
    }
}

fn read(mut row: Row) -> Result<Attempt, SqlError> {
    Ok(Attempt {
        order: row.id(OrderId::new)?,
        attempt: row.number()?,
        tenant: row.id(TenantId::new)?,
        method: row.text_as("method", method)?,
        state: row.int_as("attempt state", |number| AttemptState::from_stored(u8::try_from(number).ok()?))?,
        amount: Money { amount: row.int()?, currency: row.text_as("currency", |text| text.parse().ok())? },
        opened: row.text_or_null()?,
        provider_number: row.text_or_null()?,
        window: Window { expires_ms: row.number()?, close_from_ms: row.number()? },
        after_close: row.int_or_null()?.and_then(|number| Status::from_stored(u8::try_from(number).ok()?)),
        paid_ms: row.time_or_null()?,
        next_ms: row.time_or_null()?,
        payer: row.text_or_null()?,
    })
}

/// Reads what [`due`] finds.
pub(super) fn read_all(rows: Vec<Row>) -> Result<Vec<Attempt>, SqlError> {
    rows.into_iter().map(read).collect()
}

/// Attempts of a shard that are to be looked at: parameters now and how many.
pub(super) fn due() -> String {
    format!("SELECT {COLUMNS} FROM attempts WHERE next_at <= ? ORDER BY next_at LIMIT ?")
}

/// Takes a look: of two who try, one does. Parameters: until when, order, attempt, and what it
/// read.
pub(super) const CLAIM: &str = "UPDATE attempts SET next_at = ? WHERE order_id = ? AND attempt = ? AND next_at = ?";

/// How long a look takes at most, before somebody else takes it.
pub(super) const CLAIMED_MS: u64 = 15_000;

/// A time, or none.
pub(super) fn time(ms: Option<u64>) -> Result<Value, SqlError> {
    Ok(ms.map(stored).transpose()?.into())
}

impl<S: Sql> Step<S> {
    /// All attempts of the order, by number.
    pub(super) async fn attempts(&mut self) -> Result<Vec<Attempt>, SqlError> {
        let query = format!("SELECT {COLUMNS} FROM attempts WHERE order_id = ? ORDER BY attempt");
        read_all(self.tx.rows(&query, vec![self.row.order.stored().into()]).await?)
    }

    /// Adds one.
    pub(super) async fn add_attempt(&mut self, attempt: &Attempt) -> Result<(), SqlError> {
        let params = vec![
            attempt.order.stored().into(),
            attempt.attempt.into(),
            attempt.tenant.stored().into(),
            attempt.provider().as_str().into(),
            attempt.number()?.as_str().into(),
            attempt.method.0.into(),
            attempt.state.stored().into(),
            attempt.amount.amount.into(),
            attempt.amount.currency.as_str().into(),
            stored(attempt.window.expires_ms)?.into(),
            stored(attempt.window.close_from_ms)?.into(),
            time(attempt.next_ms)?,
            stored(self.now_ms)?.into(),
            Value::text_or_null(attempt.payer.as_deref()),
        ];
        self.tx.exec(INSERT, params).await.map(drop)
    }

    /// Writes what changes of one.
    pub(super) async fn save_attempt(&mut self, attempt: &Attempt) -> Result<(), SqlError> {
        let params = vec![
            attempt.state.stored().into(),
            Value::text_or_null(attempt.opened.as_deref()),
            Value::text_or_null(attempt.provider_number.as_deref()),
            attempt.after_close.map(|status| i64::from(status.stored())).into(),
            time(attempt.paid_ms)?,
            time(attempt.next_ms)?,
            attempt.order.stored().into(),
            attempt.attempt.into(),
        ];
        self.tx.exec(SAVE, params).await.map(drop)
    }
}
