//! Notices of providers: verified over the raw bytes before anything of them is read, taken once,
//! and answered as the provider's documents say.

use kit::{
    api::{Access, Call, Route},
    http::{Body, HeaderValue, Mount, Response, reply},
    openapi::{Responses, refusals},
    problem::{Code, Problem, ProblemBody},
};
use store::sql::{Tx as _, stored};
use utoipa::{IntoResponses, OpenApi};

use super::{
    attempts::Attempt,
    ports::{Accounts as _, Kinds},
    refunds::RefundRow,
    refused::Refused,
    service::Life,
    words::Word,
};
use crate::payment::{
    Event, Notice, ProviderKind, Received, Refund,
    notice::{self, Effect, Misfit},
};

const SEEN: &str = "INSERT INTO notices (provider, notice, order_id, came_to, received_at) VALUES (?, ?, ?, ?, ?)";

#[derive(OpenApi)]
#[openapi(paths(notify))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<K: Kinds>() -> Vec<Mount<Route<Life<K>>>> {
    let route = Route::new(Access::Public, |life, call| Box::pin(notify(life, call)));
    vec![Mount::post("/v1/payments/{provider}/notify", "payment_notice", route)]
}

/// The refusals of a notice beside that.
struct NoticeRefused;

impl IntoResponses for NoticeRefused {
    fn responses() -> Responses {
        refusals(&[
            (Code::NotFound, "no such provider"),
            (Code::TooLarge, ""),
            (Code::TemporarilyUnavailable, "nothing was done; send it again"),
            (Code::OutcomeUnknown, "send it again"),
            (Code::Internal, ""),
        ])
    }
}

/// What a provider tells. Its signature is its proof.
#[utoipa::path(
    post, path = "/v1/payments/{provider}/notify", operation_id = "payment_notice", tag = "payments",
    request_body(
        description = "The raw bytes, as the provider signed them, of any media type.",
        content((String = "application/octet-stream"))
    ),
    params(
        ("provider" = String, Path, description = "`wechat`, `alipay` or `simulated`."),
        ("account" = Option<String>, Query, description = "Which of our keys verifies it.")
    ),
    responses(
        (status = 200, description = "Alipay's `success` or `fail`.", content((String = "text/plain"))),
        (status = 204, description = "Taken."),
        (status = 400, description = "Not taken: not signed by a key of ours; or a parameter is wrong.",
            content((serde_json::Value = "application/json"), (ProblemBody = "application/problem+json"))),
        NoticeRefused
    )
)]
async fn notify<K: Kinds>(life: &Life<K>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let name: String = call.part("provider")?;
    let provider = ProviderKind::named(&name);
    let provider = provider.ok_or_else(|| Problem::new(Code::NotFound, "there is no such provider"))?;
    let query = call.query(&["account"])?;
    let account = query.get("account").unwrap_or_default();
    let received = Received { headers: call.headers(), body: &call.body, now_ms: life.now_ms() };
    let notice = match life.ports().accounts.verify(provider, account, received) {
        Ok(notice) => notice,
        Err(forged) => {
            life.metrics().notices.count(provider, Err(forged));
            tracing::warn!(provider = provider.as_str(), %forged, "a notice is not believed");
            return Ok(answer(provider, false));
        }
    };
    let effect = life.take_notice(&notice).await?;
    life.metrics().notices.count(provider, Ok(&effect));
    Ok(answer(provider, true))
}

fn answer(provider: ProviderKind, is_taken: bool) -> Response<Body> {
    let said = notice::reply(provider, is_taken);
    reply::raw(said.status, HeaderValue::from_static(said.content_type), said.body)
}

impl<K: Kinds> Life<K> {
    /// Takes a notice in, with its id in the same step: of two at once one is a repetition.
    async fn take_notice(&self, notice: &Notice) -> Result<Effect, Refused> {
        let number = match &notice.event {
            Event::Payment(payment) => &payment.number,
            Event::Refund { number, .. } => number,
            Event::Other(_) => return Ok(Effect::Nothing),
        };
        let misfit = Effect::Misfit(Misfit::NoAttempt);
        let Some((order, number)) = Attempt::named(number) else { return Ok(misfit) };
        let Some(mut step) = self.begin(order).await? else { return Ok(misfit) };
        let found = step.attempts().await?.into_iter().find(|attempt| attempt.attempt == number);
        // Another tenant's attempt is absent, like one that does not exist.
        let is_its = |attempt: &Attempt| attempt.tenant == notice.tenant && attempt.provider() == notice.provider;
        let Some(mut attempt) = found.filter(is_its) else { return Ok(misfit) };
        let effect = notice::effect(notice, false, Some(&attempt.ours()?));
        let came_to = match effect {
            Effect::Misfit(_) => "misfit",
            Effect::Nothing => "nothing",
            _ => "applied",
        };
        let seen = vec![
            notice.provider.as_str().into(),
            notice.id.as_str().into(),
            order.stored().into(),
            came_to.into(),
            stored(step.now_ms)?.into(),
        ];
        if !step.tx.insert_absent(SEEN, seen).await? {
            return Ok(Effect::Nothing);
        }
        match (&effect, &notice.event) {
            (Effect::Attempt(_), Event::Payment(payment)) => {
                self.hear_within(&mut step, &mut attempt, Word::Payment(payment)).await?;
            }
            (Effect::Refund { refund_number: Some(refund_number), state }, Event::Refund { amount, .. }) => {
                if let Some((_, refund)) = RefundRow::named(refund_number).filter(|(of, _)| *of == order) {
                    let (refund_number, provider_number) = (refund_number.clone(), None);
                    let told = Ok(Refund { refund_number, provider_number, state: *state, amount: *amount });
                    self.refund_answered_within(&mut step, refund, &told).await?;
                }
            }
            (Effect::Misfit(misfit), _) => tracing::error!(%order, ?misfit, "a genuine notice does not fit; nothing \
                was changed, look at the provider's site"),
            _ => {}
        }
        step.commit().await?;
        Ok(effect)
    }
}
