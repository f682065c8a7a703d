//! The order service as a program of its own, over HTTP. It asks this one who asks: with the token
//! that came, or with the operator's secret where this service looks by itself.

use std::time::Duration;

use kit::{
    client::{Ask, Client, ClientError, ClientLimits},
    problem::{Code, Problem},
    settings::Secret,
};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::{
    identity::ACT_FOR,
    ports::{Answering, Asker, OrderService},
};

/// Longest wait for one answer; it is asked twice.
const ANSWER_DEADLINE: Duration = Duration::from_secs(3);
/// When to come back while it does not answer.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The order service at its address.
pub(super) struct Orders {
    client: Client,
    operator: Secret,
}

/// Who takes payments for a tenant, as it tells.
#[derive(Deserialize)]
struct Told {
    providers: Vec<String>,
}

impl Orders {
    /// The service at `url`. `operator`: by which this one knows its own questions again.
    pub(super) fn at(url: &str, operator: Secret) -> Result<Self, ClientError> {
        Self::within(url, operator, ANSWER_DEADLINE)
    }

    fn within(url: &str, operator: Secret, answer_deadline: Duration) -> Result<Self, ClientError> {
        let limits = ClientLimits { answer_deadline, attempts_max: 2, ..ClientLimits::default() };
        Ok(Self { client: Client::new(url, limits)?, operator })
    }

    async fn list(&self, asker: &Asker, query: &str) -> Result<Json, ClientError> {
        let ask = Ask::get(format!("/v1/merchant/orders?{query}"));
        let proof = asker.proof.iter().filter_map(|(name, value)| Some((name, value.to_str().ok()?)));
        let ask = proof.fold(ask, |ask, (name, value)| ask.header(name.clone(), value));
        self.client.ask(&ask).await?.json()
    }

    async fn providers(&self, tenant: u32) -> Result<Told, ClientError> {
        let ask = Ask::get("/v1/merchant/payment-accounts").bearer(self.operator.expose());
        self.client.ask(&ask.header(ACT_FOR, &tenant.to_string())).await?.json()
    }
}

impl OrderService for Orders {
    fn orders<'a>(&'a self, asker: &'a Asker, query: &'a str) -> Answering<'a, Result<Json, Box<Problem>>> {
        Box::pin(async move {
            self.list(asker, query).await.map_err(|error| match error {
                ClientError::Refused(refusal) if refusal.status.is_client_error() => refusal.passed_on(),
                error => {
                    tracing::warn!(%error, "the order service does not list orders");
                    let problem = Problem::new(Code::TemporarilyUnavailable, "the order service does not answer");
                    problem.with_retry_after(RETRY_AFTER).into()
                }
            })
        })
    }

    fn has_account(&self, tenant: u32) -> Answering<'_, Result<bool, String>> {
        Box::pin(async move {
            let told = self.providers(tenant).await.map_err(|error| error.to_string())?;
            Ok(!told.providers.is_empty())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    };

    use kit::{
        access::Actor,
        clock::SystemClock,
        http::{
            self, Asked, Body, HeaderMap, HeaderValue, Limits, Mount, RequestMetrics, Response, Router, Service,
            StatusCode, Table, bearer, header::AUTHORIZATION, reply,
        },
        metrics::Registry,
    };
    use serde_json::json;
    use tokio_util::sync::{CancellationToken, DropGuard};

    use super::*;

    /// Answers with a status of the test's choice what it was asked, and by whom; or never.
    #[derive(Clone, Default)]
    struct Stub(Arc<AtomicU16>);

    const SILENT: u16 = 0;

    impl Service for Stub {
        type Route = ();

        fn mounts() -> Vec<Mount<()>> {
            vec![
                Mount::get("/v1/merchant/orders", "orders", ()),
                Mount::get("/v1/merchant/payment-accounts", "accounts", ()),
            ]
        }

        async fn answer(&self, (): (), asked: Asked<'_>) -> Response<Body> {
            let tenant = asked.headers().get(ACT_FOR).and_then(|tenant| tenant.to_str().ok()).unwrap_or("none");
            let providers = if tenant == "8" { vec!["wechat"] } else { vec![] };
            match self.0.load(Ordering::SeqCst) {
                SILENT => std::future::pending().await,
                200 => {
                    let told = json!({ "query": asked.query(), "token": bearer(asked.headers()), "tenant": tenant,
                        "providers": providers });
                    reply::json(StatusCode::OK, &told)
                }
                400 => Problem::new(Code::InvalidRequest, "no").with_field("status", "which?").to_response(),
                401 => Problem::new(Code::Unauthenticated, "who is that?").to_response(),
                _ => Problem::new(Code::Internal, "a fault").to_response(),
            }
        }
    }

    /// The stub, what asks it, and what ends it.
    fn served() -> (Stub, Orders, DropGuard) {
        let (stub, stop) = (Stub::default(), CancellationToken::new());
        let table = Arc::new(Table::of::<Stub>().unwrap());
        let metrics = RequestMetrics::register(&Registry::new().unwrap(), table.names()).unwrap();
        let router = Router::new(stub.clone(), table, SystemClock::new(), Arc::new(metrics));
        let listener = http::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(http::serve(listener, router, Limits::default(), stop.clone()));
        let orders = Orders::within(&url, "operators".parse().unwrap(), Duration::from_millis(300)).unwrap();
        (stub, orders, stop.drop_guard())
    }

    fn asker(headers: &[(http::HeaderName, &'static str)]) -> Asker {
        let proof: HeaderMap =
            headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        Asker { actor: Actor::NOBODY, proof }
    }

    #[tokio::test]
    async fn a_list_is_asked_for_by_the_token_that_came_and_accounts_by_the_operators() {
        let (stub, orders, _stop) = served();
        stub.0.store(200, Ordering::SeqCst);
        let person = asker(&[(AUTHORIZATION, "Bearer persons")]);
        let told = orders.orders(&person, "limit=2&status=paid").await.unwrap();
        assert_eq!(
            told,
            json!({ "query": "limit=2&status=paid", "token": "persons", "tenant": "none", "providers": [] })
        );
        let operator = asker(&[(AUTHORIZATION, "Bearer operators"), (ACT_FOR, "7")]);
        let told = orders.orders(&operator, "limit=2").await.unwrap();
        assert_eq!((&told["token"], &told["tenant"]), (&json!("operators"), &json!("7")));
        assert_eq!((orders.has_account(7).await, orders.has_account(8).await), (Ok(false), Ok(true)));
    }

    #[tokio::test]
    async fn its_refusals_are_passed_on_and_its_silence_is_told() {
        let (stub, orders, stop) = served();
        let person = asker(&[(AUTHORIZATION, "Bearer persons")]);
        let codes = async |status: u16| {
            stub.0.store(status, Ordering::SeqCst);
            (orders.orders(&person, "limit=2").await.unwrap_err(), orders.has_account(7).await.unwrap_err())
        };
        let (problem, why) = codes(400).await;
        assert_eq!((problem.code, &*problem.field_errors[0].field), (Code::InvalidRequest, "status"));
        assert!(why.contains("refused with 400"), "{why}");
        let (problem, why) = codes(401).await;
        assert_eq!(problem.code, Code::Unauthenticated);
        assert!(why.contains("who is that?"), "{why}");
        let (problem, why) = codes(500).await;
        assert_eq!((problem.code, problem.retry_after), (Code::TemporarilyUnavailable, Some(RETRY_AFTER)));
        assert!(why.contains("refused with 500"), "{why}");
        let (problem, why) = codes(SILENT).await;
        assert_eq!(problem.code, Code::TemporarilyUnavailable);
        assert!(why.contains("no answer within"), "{why}");
        drop(stop);
        let gone = Orders::within("127.0.0.1:1", "operators".parse().unwrap(), Duration::from_secs(3)).unwrap();
        assert_eq!(gone.orders(&person, "limit=2").await.unwrap_err().code, Code::TemporarilyUnavailable);
        let why = gone.has_account(7).await.unwrap_err();
        assert!(why.contains("cannot be reached"), "{why}");
    }
}
