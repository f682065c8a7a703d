//! Merchants' people and keys, as the merchants' service knows them: other services ask it each
//! time, so that a deleted key, a suspension and a rate of its plan hold there at once.

use std::time::Duration;

use serde::Deserialize;

use crate::access::{Actor, Permission, Who};
use crate::client::{Ask, Client, ClientError, ClientLimits};
use crate::http::{HeaderMap, HeaderName};
use crate::problem::{Code, Problem};

/// For whom the operator acts.
const ACT_FOR: HeaderName = HeaderName::from_static("flashsale-tenant");
/// Longest wait for one answer of the merchants' service.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);
/// When to come back while nobody can say who asks.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The merchants' service.
#[derive(Debug)]
pub struct Merchants(Client);

/// What it says of who asks.
#[derive(Deserialize)]
struct Told {
    who: String,
    tenant: String,
    permissions: Vec<String>,
}

impl Told {
    /// Permissions of a later version give nothing here.
    fn read(self) -> Option<Actor> {
        let permissions = self.permissions.iter().filter_map(|name| name.parse::<Permission>().ok()).collect();
        Some(Actor { who: self.who.parse::<Who>().ok()?, tenant: self.tenant.parse().ok()?, permissions })
    }
}

impl Merchants {
    /// The service at this origin.
    ///
    /// # Errors
    /// [`ClientError::Invalid`] when it is none.
    pub fn at(url: &str) -> Result<Self, ClientError> {
        // Twice is sooner over than the engine's patience.
        let limits = ClientLimits { answer_deadline: ANSWER_DEADLINE, attempts_max: 2, ..ClientLimits::default() };
        Client::new(url, limits).map(Self)
    }

    /// Whom a token or key stands for, which came with these headers.
    ///
    /// # Errors
    /// Its refusal, or `temporarily_unavailable` while it does not answer.
    pub async fn actor(&self, token: &str, headers: &HeaderMap) -> Result<Actor, Box<Problem>> {
        let mut ask = Ask::get("/v1/actor").bearer(token);
        if let Some(tenant) = headers.get(ACT_FOR).and_then(|named| named.to_str().ok()) {
            ask = ask.header(ACT_FOR, tenant);
        }
        let told = match self.0.ask(&ask).await {
            Ok(answer) => answer.json::<Told>().ok().and_then(Told::read),
            Err(ClientError::Refused(refusal)) if refusal.status.is_client_error() => return Err(refusal.passed_on()),
            Err(error) => {
                tracing::warn!(%error, "the merchants' service does not say who asks");
                None
            }
        };
        told.ok_or_else(|| {
            let detail = "nobody can say now who asks; nothing was done, come back";
            Box::new(Problem::new(Code::TemporarilyUnavailable, detail).with_retry_after(RETRY_AFTER))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_read_and_what_is_not_known_gives_nothing() {
        let told = |text: &str| serde_json::from_str::<Told>(text).unwrap().read();
        let actor = told(r#"{"who":"key:9","tenant":"7","permissions":["write_orders","fly"],"later":1}"#).unwrap();
        assert_eq!((actor.who, actor.tenant, &*actor.permissions.to_scope()), (Who::Key(9), 7, "write_orders"));
        assert_eq!(told(r#"{"who":"nobody","tenant":"7","permissions":["write_orders"]}"#), None);
    }
}
