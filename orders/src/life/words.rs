//! What a provider says of an attempt, taken into its row and into the order, in one step. Whoever
//! hears it, and however often: the tables of states say what follows.

use domain::{
    id::OrderId,
    order::{Status, Transition},
};
use serde_json::json;

use super::{
    attempts::Attempt,
    ports::{Accounts as _, Kinds},
    refunds::NewRefund,
    refused::Refused,
    service::Life,
    step::{Step, Told},
};
use crate::payment::{
    Failed, Next, Opened, Payment, Provider as _,
    attempt::{self, AttemptState, Happened},
    notice::{Effect, effect_of_payment},
};

/// What was said.
#[derive(Debug, Clone, Copy)]
pub(super) enum Word<'a> {
    /// It is open, and this is how the buyer pays.
    Opened(&'a Opened),
    /// Where the payment stands, by a notice or a query.
    Payment(&'a Payment),
    /// Anything else.
    Happened(Happened),
}

impl<K: Kinds> Life<K> {
    /// Takes a word in; the attempt as it is then, `None` where there is none.
    pub(super) async fn hear(
        &self,
        (order, number): (OrderId, u32),
        word: Word<'_>,
    ) -> Result<Option<Attempt>, Refused> {
        let Some(mut step) = self.begin(order).await? else { return Ok(None) };
        let found = step.attempts().await?.into_iter().find(|attempt| attempt.attempt == number);
        let Some(mut attempt) = found else { return Ok(None) };
        self.hear_within(&mut step, &mut attempt, word).await?;
        step.commit().await?;
        Ok(Some(attempt))
    }

    /// The same within a step. What came of it.
    pub(super) async fn hear_within(
        &self,
        step: &mut Step<K::Sql>,
        attempt: &mut Attempt,
        word: Word<'_>,
    ) -> Result<Effect, Refused> {
        let by_table = |happened| {
            let change = attempt::change(attempt.state, happened).filter(|change| change.to != attempt.state);
            change.map_or(Effect::Nothing, Effect::Attempt)
        };
        let effect = match word {
            Word::Payment(payment) => effect_of_payment(payment, &attempt.ours()?),
            Word::Happened(happened) => by_table(happened),
            Word::Opened(_) => by_table(Happened::Waiting),
        };
        if let Word::Opened(opened) = word {
            attempt.opened = Some(as_json(opened));
        }
        if let Effect::Attempt(change) = effect {
            attempt.state = change.to;
        }
        attempt.schedule(step.now_ms);
        if let (Effect::Attempt(_), Word::Payment(payment)) = (&effect, word) {
            attempt.provider_number.clone_from(&payment.provider_number);
            attempt.paid_ms = payment.paid_ms;
        }
        // Before the order's own step, which looks whether an attempt is still open.
        step.save_attempt(attempt).await?;
        match effect {
            Effect::Attempt(change) if change.to == AttemptState::Paid => self.paid(step, attempt).await?,
            Effect::Attempt(change) if change.to == AttemptState::Closed => self.closed(step, attempt).await?,
            Effect::Misfit(misfit) => tracing::error!(order = %attempt.order, ?misfit, "a payment does not fit its \
                attempt; nothing was changed, look at the provider's site"),
            _ => {}
        }
        Ok(effect)
    }

    /// The money is there: it pays the order, or goes back by itself.
    async fn paid(&self, step: &mut Step<K::Sql>, attempt: &Attempt) -> Result<(), Refused> {
        let told = Told {
            who: attempt.provider().as_str(),
            what: "paid_late",
            number: attempt.provider_number.as_deref(),
            amount: Some(attempt.amount.amount),
            why: None,
        };
        if step.is_unpaid() {
            return self.take(step, Transition::Pay, told).await;
        }
        let why = format!("it came when the order was {}", step.row.status.as_str());
        step.tell(Told { why: Some(&why), ..told }).await?;
        let refund = NewRefund { amount: attempt.amount, reason: &why, request_key: None };
        step.add_refund(attempt, refund).await?;
        self.wake().notify_one();
        Ok(())
    }

    /// Nothing can be paid by it any more: what waited for that happens now.
    async fn closed(&self, step: &mut Step<K::Sql>, attempt: &Attempt) -> Result<(), Refused> {
        let number = attempt.number()?;
        let provider = attempt.provider().as_str();
        step.tell(Told { who: provider, what: "attempt_closed", number: Some(number.as_str()), ..Told::default() })
            .await?;
        let is_over = step.row.pay_by_ms.is_some_and(|pay_by_ms| pay_by_ms <= step.now_ms);
        let becomes = attempt.after_close.or(is_over.then_some(Status::Expired));
        let transition = becomes.and_then(|status| Transition::between(Status::PendingPayment, status));
        let Some(transition) = transition.filter(|_| step.is_unpaid()) else { return Ok(()) };
        if step.attempts().await?.iter().any(Attempt::is_live) {
            return Ok(());
        }
        self.take(step, transition, Told { who: "clock", ..Told::default() }).await
    }

    /// Asks the provider to open an attempt, once more where nobody knows whether it did.
    pub(super) async fn open(&self, attempt: &Attempt) -> Result<(Option<Attempt>, Option<Failed>), Refused> {
        let place = (attempt.order, attempt.attempt);
        let Some(provider) = self.ports().accounts.of(attempt.tenant, attempt.provider()) else {
            return Ok((Some(attempt.clone()), Some(Failed::NotTaken("the shop has no account there".to_owned()))));
        };
        match provider.create(&attempt.charge()?).await {
            Ok(opened) => Ok((self.hear(place, Word::Opened(&opened)).await?, None)),
            Err(failed) => {
                let happened = Happened::of_failure(&failed, self.is_over(attempt));
                let now = match happened {
                    Some(happened) => self.hear(place, Word::Happened(happened)).await?,
                    None => Some(attempt.clone()),
                };
                Ok((now, Some(failed)))
            }
        }
    }

    fn is_over(&self, attempt: &Attempt) -> bool {
        self.now_ms() >= attempt.window.expires_ms
    }

    /// Looks at an attempt whose time has come: it is closed where its end is decided, opened where
    /// the provider does not have it, and asked about otherwise.
    pub(super) async fn look(&self, attempt: &Attempt) -> Result<(), Refused> {
        let place = (attempt.order, attempt.attempt);
        let Some(provider) = self.ports().accounts.of(attempt.tenant, attempt.provider()) else {
            tracing::error!(order = %attempt.order, tenant = %attempt.tenant, provider = attempt.provider().as_str(),
                "a payment is open at an account that is not among the accounts: put it back, nobody can ask");
            return Ok(());
        };
        let number = attempt.number()?;
        if attempt.after_close.is_some() || self.now_ms() >= attempt.window.close_from_ms {
            let closing = self.hear(place, Word::Happened(Happened::CloseAsked)).await?;
            if closing.is_none_or(|closing| closing.state != AttemptState::Closing) {
                return Ok(());
            }
            match provider.close(&number).await {
                Ok(closed) => {
                    let happened = Happened::of_close(closed, self.is_over(attempt));
                    return self.hear(place, Word::Happened(happened)).await.map(drop);
                }
                Err(failed) if failed.next() == Next::Query => {}
                Err(failed) => {
                    if let Some(happened) = Happened::of_failure(&failed, self.is_over(attempt)) {
                        self.hear(place, Word::Happened(happened)).await?;
                    }
                    return Ok(());
                }
            }
        }
        let now = match provider.query(&number).await {
            Ok(payment) => self.hear(place, Word::Payment(&payment)).await?,
            Err(failed) => match Happened::of_failure(&failed, self.is_over(attempt)) {
                Some(happened) => self.hear(place, Word::Happened(happened)).await?,
                None => None,
            },
        };
        // Nobody asked yet, or the request never came through: the same number once more.
        if let Some(created) = now.filter(|now| now.state == AttemptState::Created) {
            self.open(&created).await?;
        }
        Ok(())
    }
}

fn as_json(opened: &Opened) -> String {
    match opened {
        Opened::Page(page) => json!({"page": page}),
        Opened::Code(code) => json!({"code": code}),
        Opened::Jsapi(parameters) => json!({"jsapi": parameters}),
    }
    .to_string()
}
