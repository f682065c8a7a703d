//! The payment port: what the order service asks of a provider, and what may come of it.
//!
//! One rule stands above all others: an answer that did not come, or that nobody can vouch for, is
//! *unknown*. The same number is queried then, never replaced by a new one, or the buyer pays
//! twice.

/// Merchants' accounts, by a file.
pub mod accounts;

/// Amounts as providers write them.
pub mod amount;

/// Keys, signatures, seals.
pub mod keys;

/// The hour in Beijing, in which providers write.
pub(crate) mod beijing;

/// The states of an attempt, and its window.
pub mod attempt;

/// What a notice does.
pub mod notice;

/// Refunds, at the pace that a provider allows.
pub mod pacer;

/// Shares of a payment for others than the shop.
pub mod sharing;

/// What the words of the providers mean.
mod words;

/// WeChat Pay v3.
pub mod wechat;

/// Alipay.
pub mod alipay;

use std::fmt;
use std::future::Future;
use std::str::FromStr;

use bytes::Bytes;
use domain::id::TenantId;
use domain::money::Money;
use kit::client::ClientError;
use kit::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

/// Who moves the money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProviderKind {
    /// WeChat Pay v3.
    Wechat,
    /// Alipay.
    Alipay,
    /// Our own bank, for trying out.
    Simulated,
}

impl ProviderKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Wechat, Self::Alipay, Self::Simulated];

    /// The stable name, as rows, metrics and paths show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wechat => "wechat",
            Self::Alipay => "alipay",
            Self::Simulated => "simulated",
        }
    }

    /// The inverse of [`ProviderKind::as_str`].
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Our number of an attempt or of a refund, by which the provider knows a repetition: 6 to 32 ASCII
/// letters, digits and `_`, which all providers accept.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Number(String);

impl From<Number> for String {
    fn from(number: Number) -> Self {
        number.0
    }
}

impl TryFrom<String> for Number {
    type Error = InvalidNumber;

    fn try_from(text: String) -> Result<Self, InvalidNumber> {
        text.parse()
    }
}

/// A text that is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a number is 6 to 32 ASCII letters, digits or underscores")]
pub struct InvalidNumber;

impl FromStr for Number {
    type Err = InvalidNumber;

    fn from_str(text: &str) -> Result<Self, InvalidNumber> {
        let fits = (6..=32).contains(&text.len());
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if fits && is_plain { Ok(Self(text.to_owned())) } else { Err(InvalidNumber) }
    }
}

impl Number {
    /// Its characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How the buyer pays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// Inside WeChat, by the buyer's id there.
    WechatJsapi {
        /// The buyer's id for the shop's app.
        openid: String,
    },
    /// In a browser of a phone, outside WeChat.
    WechatH5 {
        /// The buyer's address, which WeChat compares with who opens the page.
        client_address: String,
    },
    /// By a code that WeChat scans.
    WechatNative,
    /// In a browser of a phone.
    AlipayWap,
    /// In a browser.
    AlipayPage,
    /// By a code that Alipay scans.
    AlipayPrecreate,
    /// On the cashier page of the simulated bank.
    Simulated,
}

/// What is to be paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The attempt's.
    pub number: Number,
    /// Above nothing.
    #[serde(with = "amount")]
    pub amount: Money,
    /// What the buyer reads. No personal data.
    pub description: String,
    /// When the provider stops accepting, epoch ms: see [`attempt::window`].
    pub expires_ms: u64,
    /// How.
    pub method: Method,
    /// Where the buyer's browser goes afterwards. It proves nothing.
    pub return_url: Option<String>,
    /// Whether parts of it will be shared out: the money is frozen until then.
    pub is_shared: bool,
}

/// What the buyer's device does next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opened {
    /// Call `requestPayment` with these.
    #[serde(skip)]
    Jsapi(wechat::JsapiParameters),
    /// Open this page.
    Page(String),
    /// Show this text as a QR code.
    Code(String),
}

/// Where a payment stands at the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PaymentState {
    /// Nothing is paid, and it still can be.
    Waiting,
    /// The money is there; refunds may have followed.
    Paid,
    /// Nothing is paid, and it no longer can be.
    Closed,
}

/// What the provider says of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// Ours.
    pub number: Number,
    /// The provider's, once it is paid.
    pub provider_number: Option<String>,
    /// Where it stands.
    pub state: PaymentState,
    /// The whole price, before whatever the provider gave for it; absent while nothing is paid.
    #[serde(with = "amount::optional")]
    pub amount: Option<Money>,
    /// When it was paid, epoch ms.
    pub paid_ms: Option<u64>,
    /// The payer's id at the provider: personal data.
    pub payer: Option<String>,
}

/// The end of a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Closed {
    /// It can no longer be paid.
    Closed,
    /// The provider does not have it. Alipay makes a trade when its page is opened: until its
    /// `time_expire` it may still come to be, so that units wait for that.
    Absent,
}

/// What is to be given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundOrder {
    /// The refund's own number: the same on every repetition.
    pub refund_number: Number,
    /// Of the payment.
    pub number: Number,
    /// How much goes back now.
    #[serde(with = "amount")]
    pub amount: Money,
    /// How much was paid: in the same currency.
    #[serde(with = "amount")]
    pub paid: Money,
    /// What the buyer reads.
    pub reason: String,
}

/// Where a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RefundState {
    /// Accepted, and not done: a notice or a query says when.
    Accepted,
    /// The buyer has the money.
    Done,
    /// It came to nothing; the money is the shop's still. Another refund needs a new number.
    Closed,
    /// The buyer's account could not take it: a person completes it on the provider's site.
    Abnormal,
}

/// What the provider says of a refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// Ours.
    pub refund_number: Number,
    /// The provider's; Alipay gives none.
    pub provider_number: Option<String>,
    /// Where it stands.
    pub state: RefundState,
    /// How much.
    #[serde(with = "amount::optional")]
    pub amount: Option<Money>,
}

/// What the provider's own word for a refusal means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// It has no such thing.
    Absent,
    /// The attempt is paid.
    Paid,
    /// The attempt is closed.
    Closed,
    /// The number is taken by something else.
    NumberUsed,
    /// Too often: later, with the same number.
    TooOften,
    /// The shop's account at the provider lacks the money: later, with the same number.
    NoFunds,
    /// The request is wrong, or not allowed.
    Invalid,
}

/// Why nobody can say what became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Doubt {
    /// No answer in time, or the connection broke.
    NoAnswer,
    /// A fault of the provider's, by status or by its own word.
    ProviderFault,
    /// The answer's signature is missing or wrong: anybody may have written it.
    BadSignature,
    /// It is signed and cannot be read, or contradicts what was asked.
    Unreadable,
}

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Failed {
    /// Nothing was carried out, by all that can go wrong before: asked again with the same number.
    #[error("the provider took nothing: {0}")]
    NotTaken(String),
    /// The provider says no, under its signature.
    #[error("the provider refuses: {code}")]
    Refused {
        /// What it means.
        reason: Reason,
        /// The provider's own word.
        code: String,
    },
    /// Nobody knows: query, with the same number.
    #[error("the outcome is unknown: {0:?}")]
    Unknown(Doubt),
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The same request with the same number, later.
    Repeat,
    /// Ask what became of the number.
    Query,
    /// It is over: the refusal is the result.
    Stop,
}

impl Failed {
    /// What to do next. A new number is never among it.
    #[must_use]
    pub const fn next(&self) -> Next {
        match self {
            Self::NotTaken(_) | Self::Refused { reason: Reason::TooOften | Reason::NoFunds, .. } => Next::Repeat,
            Self::Unknown(_) | Self::Refused { reason: Reason::Paid | Reason::Closed | Reason::NumberUsed, .. } => {
                Next::Query
            }
            Self::Refused { reason: Reason::Absent | Reason::Invalid, .. } => Next::Stop,
        }
    }

    pub(crate) fn of_client(error: &ClientError) -> Self {
        match error {
            ClientError::Away(_) | ClientError::Invalid(_) => Self::NotTaken(error.to_string()),
            _ => Self::Unknown(Doubt::NoAnswer),
        }
    }

    /// A status that needs no signature to be believed: it changes nothing but when we ask again.
    pub(crate) fn of_status(status: StatusCode) -> Option<Self> {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS => Some(Self::NotTaken(status.to_string())),
            status if status.is_server_error() => Some(Self::Unknown(Doubt::ProviderFault)),
            _ => None,
        }
    }
}

/// A notice as it came: not one byte of it changed.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// All headers.
    pub headers: &'a HeaderMap,
    /// The raw body.
    pub body: &'a Bytes,
    /// Our time, epoch ms.
    pub now_ms: u64,
}

/// What a genuine notice says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Of a payment.
    Payment(Payment),
    /// Of a refund.
    Refund {
        /// Of the payment.
        number: Number,
        /// Of the refund, as ours; `None` where it was not asked by us.
        refund_number: Option<Number>,
        /// Where it stands.
        state: RefundState,
        /// Of this refund, where the provider says so.
        amount: Option<Money>,
        /// Of all refunds of the payment, where the provider says so (Alipay).
        refunded_in_all: Option<Money>,
    },
    /// Of something else: acknowledged, and nothing is done.
    Other(String),
}

/// A notice whose signature was verified. Only `verify` of an adapter makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Who sent it.
    pub provider: ProviderKind,
    /// Its own id, by which a repetition is known.
    pub id: String,
    /// Whose account it is about: found by the key that verified it.
    pub tenant: TenantId,
    /// What it says.
    pub event: Event,
}

/// Why a notice is not believed. It changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Forged {
    /// The provider tests whether we check signatures at all.
    #[error("a probe with a signature that is wrong on purpose")]
    Probe,
    /// A header or a parameter that belongs to the signature is missing, or there twice.
    #[error("not signed")]
    NotSigned,
    /// Signed long ago, or ahead of our clock.
    #[error("signed at another time")]
    Stale,
    /// No account has a key of this name.
    #[error("signed with a key that no account has")]
    UnknownKey,
    /// The signature is not of these bytes.
    #[error("the signature is wrong")]
    WrongSignature,
    /// Signed, and about another account than the key's, or not to be read.
    #[error("signed, and not to be read")]
    Unreadable,
}

/// A provider, by one account of a merchant.
///
/// Every request MUST carry its number to the provider unchanged, so that a repetition is the same
/// request. An adapter MUST NOT repeat a request by itself, and MUST return [`Failed::Unknown`]
/// for whatever it cannot vouch for.
pub trait Provider: Send + Sync {
    /// Opens an attempt. Repeated with the same charge it gives the same attempt.
    fn create(&self, charge: &Charge) -> impl Future<Output = Result<Opened, Failed>> + Send;

    /// Where a payment stands. [`Reason::Absent`]: the provider has no such number.
    fn query(&self, number: &Number) -> impl Future<Output = Result<Payment, Failed>> + Send;

    /// Ends an attempt. [`Reason::Paid`]: the buyer was faster.
    fn close(&self, number: &Number) -> impl Future<Output = Result<Closed, Failed>> + Send;

    /// Gives money back. MUST be harmless to repeat with the same number.
    fn refund(&self, refund: &RefundOrder) -> impl Future<Output = Result<Refund, Failed>> + Send;

    /// Where a refund stands.
    fn query_refund(&self, refund: &RefundOrder) -> impl Future<Output = Result<Refund, Failed>> + Send;

    /// Who sent a notice, and what it says: the signature over the raw bytes before anything.
    ///
    /// # Errors
    ///
    /// [`Forged`].
    fn verify(&self, received: Received<'_>) -> Result<Notice, Forged>;
}
