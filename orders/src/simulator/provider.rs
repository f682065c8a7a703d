//! The port over the bank, without a network. Its notices are JSON under an HMAC.

use bytes::Bytes;
use domain::id::TenantId;
use domain::money::{Currency, Money};
use kit::clock::Clock;
use kit::digest::hmac_sha256;
use kit::http::HeaderName;
use kit::settings::Secret;
use kit::token::is_same_secret;
use serde::{Deserialize, Serialize};

use super::bank::{Bank, BankRefund, Fault, No, Opening, Outgoing, Trade};
use super::cashier;
use crate::payment::{
    Charge, Closed, Doubt, Event, Failed, Forged, Method, Notice, Number, Opened, Payment, PaymentState, Provider,
    ProviderKind, Reason, Received, Refund, RefundOrder, RefundState,
};

/// Of a notice.
pub(super) const SIGNATURE: HeaderName = HeaderName::from_static("simulated-signature");

/// A tenant's account at the bank.
#[derive(Debug, Clone)]
pub struct Simulated<C> {
    bank: Bank<C>,
    tenant: TenantId,
    secret: Secret,
    /// Before the path of the cashier page, such as `http://127.0.0.1:8080`.
    origin: String,
    notify_url: String,
}

/// A notice's body.
#[derive(Serialize, Deserialize)]
struct Told {
    id: String,
    number: String,
    provider_number: String,
    currency: String,
    amount: i64,
    paid_ms: Option<u64>,
    refund_number: Option<String>,
}

fn reason(no: No) -> Reason {
    match no {
        No::Absent => Reason::Absent,
        No::Paid => Reason::Paid,
        No::Closed => Reason::Closed,
        No::Mismatch => Reason::NumberUsed,
        No::TooOften => Reason::TooOften,
        No::NoFunds => Reason::NoFunds,
        No::TooMuch | No::Invalid => Reason::Invalid,
    }
}

fn refused(no: No) -> Failed {
    Failed::Refused { reason: reason(no), code: format!("{no:?}") }
}

/// What the port says of a trade.
fn payment(trade: &Trade) -> Payment {
    let is_paid = trade.state == PaymentState::Paid;
    Payment {
        number: trade.opening.number.clone(),
        provider_number: is_paid.then(|| trade.provider_number.clone()),
        state: trade.state,
        amount: is_paid.then_some(trade.opening.amount),
        paid_ms: trade.paid_ms,
        payer: None,
    }
}

impl<C: Clock> Simulated<C> {
    /// The account of a tenant. `secret` signs its notices.
    pub fn new(bank: Bank<C>, tenant: TenantId, secret: Secret, origin: &str, notify_url: &str) -> Self {
        let (origin, notify_url) = (origin.to_owned(), notify_url.to_owned());
        Self { bank, tenant, secret, origin, notify_url }
    }

    /// The account's name at the bank.
    #[must_use]
    pub fn account(&self) -> String {
        self.tenant.to_string()
    }

    /// Whether this is its secret.
    pub(super) fn has_secret(&self, shown: &str) -> bool {
        is_same_secret(shown, self.secret.expose())
    }

    /// Does it as the next fault wants.
    async fn meet<T>(&self, does: impl FnOnce() -> Result<T, No> + Send) -> Result<T, Failed> {
        match self.bank.next_fault() {
            None => does().map_err(refused),
            Some(Fault::FailsBefore) => Err(Failed::Unknown(Doubt::ProviderFault)),
            Some(Fault::TooOften) => Err(refused(No::TooOften)),
            Some(Fault::Slow(wait)) => {
                let done = does();
                tokio::time::sleep(wait).await;
                done.map_err(refused)
            }
            Some(fault) => {
                let done = does();
                if let Fault::Silent(wait) = fault {
                    tokio::time::sleep(wait).await;
                }
                done.map_err(refused)?;
                Err(Failed::Unknown(match fault {
                    Fault::FailsAfter => Doubt::ProviderFault,
                    Fault::WrongSignature | Fault::NotSigned => Doubt::BadSignature,
                    _ => Doubt::NoAnswer,
                }))
            }
        }
    }

    fn refund_of(&self, refund: &BankRefund, currency: Currency) -> Refund {
        let is_done = self.bank.now_ms() >= refund.done_ms;
        Refund {
            refund_number: refund.refund_number.clone(),
            provider_number: Some(refund.provider_number.clone()),
            state: if is_done { RefundState::Done } else { RefundState::Accepted },
            amount: Some(Money { amount: refund.amount, currency }),
        }
    }

    /// A notice, signed; a forged one says another amount than was signed.
    pub(super) fn write(&self, outgoing: &Outgoing) -> Option<(String, Bytes)> {
        let trade = &outgoing.trade;
        let mut told = Told {
            id: outgoing.id.clone(),
            number: trade.opening.number.as_str().to_owned(),
            provider_number: trade.provider_number.clone(),
            currency: trade.opening.amount.currency.as_str().to_owned(),
            amount: outgoing.refund.as_ref().map_or(trade.opening.amount.amount, |refund| refund.amount),
            paid_ms: trade.paid_ms,
            refund_number: outgoing.refund.as_ref().map(|refund| refund.refund_number.as_str().to_owned()),
        };
        let body = serde_json::to_vec(&told).ok()?;
        let signature = sign(&self.secret, &body);
        told.amount += i64::from(outgoing.is_forged);
        Some((signature, serde_json::to_vec(&told).ok()?.into()))
    }
}

impl<C: Clock> Provider for Simulated<C> {
    async fn create(&self, charge: &Charge) -> Result<Opened, Failed> {
        if charge.method != Method::Simulated {
            return Err(Failed::NotTaken("the simulated bank has no such way to pay".to_owned()));
        }
        let opening = Opening {
            provider: ProviderKind::Simulated,
            number: charge.number.clone(),
            amount: charge.amount,
            description: charge.description.clone(),
            expires_ms: charge.expires_ms,
            notify_url: self.notify_url.clone(),
            return_url: charge.return_url.clone().unwrap_or_default(),
            is_shared: charge.is_shared,
        };
        let trade = self.meet(|| self.bank.open(&self.account(), opening)).await?;
        Ok(Opened::Page(format!("{}{}", self.origin, cashier::path(&self.account(), &trade))))
    }

    async fn query(&self, number: &Number) -> Result<Payment, Failed> {
        let trade = self.meet(|| self.bank.trade(&self.account(), number)).await?;
        Ok(payment(&trade))
    }

    async fn close(&self, number: &Number) -> Result<Closed, Failed> {
        match self.meet(|| self.bank.close(&self.account(), number)).await {
            Ok(()) => Ok(Closed::Closed),
            Err(Failed::Refused { reason: Reason::Absent, .. }) => Ok(Closed::Absent),
            Err(failed) => Err(failed),
        }
    }

    async fn refund(&self, refund: &RefundOrder) -> Result<Refund, Failed> {
        let (account, amount) = (self.account(), refund.amount);
        let does = || self.bank.refund(&account, &refund.number, &refund.refund_number, amount.amount);
        let done = self.meet(does).await?;
        Ok(self.refund_of(&done, amount.currency))
    }

    async fn query_refund(&self, refund: &RefundOrder) -> Result<Refund, Failed> {
        let found = self.meet(|| self.bank.find_refund(&self.account(), &refund.refund_number)).await?;
        Ok(self.refund_of(&found, refund.amount.currency))
    }

    fn verify(&self, received: Received<'_>) -> Result<Notice, Forged> {
        verify(&self.secret, self.tenant, received)
    }
}

fn sign(secret: &Secret, body: &[u8]) -> String {
    hmac_sha256(secret.expose().as_bytes(), body).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a notice to this tenant says, if its secret signed it.
pub(super) fn verify(secret: &Secret, tenant: TenantId, received: Received<'_>) -> Result<Notice, Forged> {
    let mut sent = received.headers.get_all(SIGNATURE).iter();
    let signature = sent.next().and_then(|value| value.to_str().ok()).ok_or(Forged::NotSigned)?;
    if sent.next().is_some() {
        return Err(Forged::NotSigned);
    }
    if !is_same_secret(signature, &sign(secret, received.body)) {
        return Err(Forged::WrongSignature);
    }
    let told: Told = serde_json::from_slice(received.body).map_err(|_malformed| Forged::Unreadable)?;
    let event = event(&told).ok_or(Forged::Unreadable)?;
    Ok(Notice { provider: ProviderKind::Simulated, id: told.id, tenant, event })
}

fn event(told: &Told) -> Option<Event> {
    let amount = Some(Money { amount: told.amount, currency: told.currency.parse().ok()? });
    let number: Number = told.number.parse().ok()?;
    if let Some(refund) = &told.refund_number {
        let refund_number = Some(refund.parse().ok()?);
        let (state, refunded_in_all) = (RefundState::Done, None);
        return Some(Event::Refund { number, refund_number, state, amount, refunded_in_all });
    }
    let (state, provider_number) = (PaymentState::Paid, Some(told.provider_number.clone()));
    Some(Event::Payment(Payment { number, provider_number, state, amount, paid_ms: told.paid_ms, payer: None }))
}
