//! What a notice does: pure, after its signature was verified. A forged one never comes here; it is
//! counted and answered, and changes nothing.

use domain::id::TenantId;
use domain::money::Money;
use kit::http::StatusCode;
use kit::metrics::{MetricsError, Registry, SpreadCounter};

use super::attempt::{self, AttemptState, Change, Happened};
use super::{Event, Forged, Notice, Number, Payment, PaymentState, ProviderKind, RefundState};

/// What we have under a notice's number. Read and written in one transaction with the notice's id,
/// under a unique key: two at once are one and a replay.
#[derive(Debug, Clone)]
pub struct Ours {
    /// Whose.
    pub tenant: TenantId,
    /// By whom.
    pub provider: ProviderKind,
    /// Of the attempt.
    pub number: Number,
    /// What it is to be paid with.
    pub amount: Money,
    /// Where it stands.
    pub state: AttemptState,
}

/// Why a genuine notice does not fit to anything of ours. A person has to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Misfit {
    /// No attempt of this number, tenant and provider.
    NoAttempt,
    /// Another currency.
    Currency,
    /// Another amount.
    Amount,
    /// More goes back than was paid.
    RefundTooLarge,
}

/// What a notice does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The attempt changes, by compare-and-set on its state.
    Attempt(Change),
    /// A refund of ours stands so now.
    Refund {
        /// `None`: a person refunded on the provider's site.
        refund_number: Option<Number>,
        /// The state to store, unless it is done already.
        state: RefundState,
    },
    /// Nothing: it came before, or says what is recorded, or is about something else.
    Nothing,
    /// Nothing, and a person has to look.
    Misfit(Misfit),
}

/// What a verified notice does. `is_seen`: its id is stored already.
#[must_use]
pub fn effect(notice: &Notice, is_seen: bool, ours: Option<&Ours>) -> Effect {
    let number = match &notice.event {
        _ if is_seen => return Effect::Nothing,
        Event::Other(_) => return Effect::Nothing,
        Event::Payment(payment) => &payment.number,
        Event::Refund { number, .. } => number,
    };
    // An attempt of another tenant is absent, like one that does not exist.
    let is_ours =
        |ours: &&Ours| ours.tenant == notice.tenant && ours.provider == notice.provider && ours.number == *number;
    let Some(ours) = ours.filter(is_ours) else { return Effect::Misfit(Misfit::NoAttempt) };
    match &notice.event {
        Event::Payment(payment) => effect_of_payment(payment, ours),
        Event::Refund { refund_number, state, amount, refunded_in_all, .. } => {
            for given in [amount, refunded_in_all].into_iter().flatten() {
                if given.currency != ours.amount.currency {
                    return Effect::Misfit(Misfit::Currency);
                }
                if !(1..=ours.amount.amount).contains(&given.amount) {
                    return Effect::Misfit(Misfit::RefundTooLarge);
                }
            }
            Effect::Refund { refund_number: refund_number.clone(), state: *state }
        }
        Event::Other(_) => Effect::Nothing,
    }
}

/// What the provider's word about a payment does, in a notice or in the answer to a query of
/// `ours.number`: both are held against the same amount and currency.
#[must_use]
pub fn effect_of_payment(payment: &Payment, ours: &Ours) -> Effect {
    if let Some(misfit) = misfit_of_payment(payment.state, payment.amount, ours.amount) {
        return Effect::Misfit(misfit);
    }
    let change = attempt::change(ours.state, Happened::of_payment(payment.state));
    change.filter(|change| change.to != ours.state).map_or(Effect::Nothing, Effect::Attempt)
}

/// A payment is one of exactly the amount that was asked for; what is not paid has none.
fn misfit_of_payment(state: PaymentState, paid: Option<Money>, asked: Money) -> Option<Misfit> {
    match paid {
        Some(paid) if paid.currency != asked.currency => Some(Misfit::Currency),
        Some(paid) if paid.amount != asked.amount => Some(Misfit::Amount),
        None if state == PaymentState::Paid => Some(Misfit::Amount),
        _ => None,
    }
}

/// What a provider is answered, within its time (WeChat: 5 s).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// Of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: &'static str,
}

/// The answer to a notice: taken, or to be sent again. Forged ones are never taken, so that a
/// notice that we wrongly distrust comes again.
#[must_use]
pub const fn reply(provider: ProviderKind, is_taken: bool) -> Reply {
    match (provider, is_taken) {
        (ProviderKind::Alipay, true) => text("success"),
        (ProviderKind::Alipay, false) => text("fail"),
        (_, true) => Reply { status: StatusCode::NO_CONTENT, content_type: "application/json", body: "" },
        (_, false) => Reply {
            status: StatusCode::BAD_REQUEST,
            content_type: "application/json",
            body: r#"{"code":"FAIL","message":"not taken"}"#,
        },
    }
}

const fn text(body: &'static str) -> Reply {
    Reply { status: StatusCode::OK, content_type: "text/plain; charset=utf-8", body }
}

/// What notices come to, as labels.
const OUTCOMES: [&str; 6] = ["applied", "late", "nothing", "misfit", "forged", "probe"];

/// `payment_notices_total`, by provider and outcome.
#[derive(Debug)]
pub struct NoticeMetrics(Vec<SpreadCounter>);

impl NoticeMetrics {
    /// Declares it.
    ///
    /// # Errors
    ///
    /// When it is declared already.
    pub fn register(registry: &Registry) -> Result<Self, MetricsError> {
        let labels: Vec<_> =
            ProviderKind::ALL.iter().flat_map(|kind| OUTCOMES.map(|outcome| [kind.as_str(), outcome])).collect();
        let help = "Notices of payment providers, by what they came to.";
        Ok(Self(registry.spread_counters("payment_notices_total", help, ["provider", "outcome"], &labels)?))
    }

    /// Counts one.
    pub fn count(&self, provider: ProviderKind, came_to: Result<&Effect, Forged>) {
        let outcome = match came_to {
            Ok(Effect::Attempt(Change { is_late: true, .. })) => "late",
            Ok(Effect::Attempt(_) | Effect::Refund { .. }) => "applied",
            Ok(Effect::Nothing) => "nothing",
            Ok(Effect::Misfit(_)) => "misfit",
            Err(Forged::Probe) => "probe",
            Err(_) => "forged",
        };
        let provider = ProviderKind::ALL.iter().position(|kind| *kind == provider);
        let outcome = OUTCOMES.iter().position(|known| *known == outcome);
        if let (Some(provider), Some(outcome)) = (provider, outcome)
            && let Some(counter) = self.0.get(provider * OUTCOMES.len() + outcome)
        {
            counter.inc();
        }
    }
}
