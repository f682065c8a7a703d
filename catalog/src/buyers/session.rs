//! What a login gives: a token of the buyer. Whoever logs in names the shop by its code; one that
//! is not open has no login.

use domain::{id::TenantId, sale::SubjectKind};
use kit::{
    api::Call,
    clock::{Clock as _, rfc3339},
    http::{Body, Response, StatusCode, header, of_tenant, reply},
    openapi::{Responses, refusals},
    problem::{Code, NO_STORE},
    token::{BuyerClaims, SignError, TokenSigner},
};
use serde::Serialize;
use store::sql::Sql as _;
use utoipa::{IntoResponses, ToSchema};

use super::subjects::Subject;
use crate::{ports::Ports, refused::Refused, service::Catalog};

/// How long a token lives, where nobody says.
pub(super) const HOURS: u64 = 24;

const HOUR_MS: u64 = 3_600_000;

const OPEN_SHOP: &str = "SELECT tenant FROM tenants WHERE code = ? AND state = 'open'";

/// A buyer who is logged in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BuyerSession {
    /// The buyer's number, as a decimal string.
    buyer: String,
    /// For the buyer's surface.
    token: String,
    /// When it ends, RFC 3339.
    expires_at: String,
}

/// Why nobody is logged in.
pub(super) struct LoginRefused;

impl IntoResponses for LoginRefused {
    fn responses() -> Responses {
        refusals(&[
            (Code::InvalidRequest, "each wrong member is named"),
            (Code::Unauthenticated, "the code is wrong, used or too old: get another one"),
            (Code::Forbidden, "the provider holds this user for a risk"),
            (Code::NotFound, "no such shop, or it has no such login"),
            (Code::Conflict, "the provider refuses the shop's credentials, or nothing signs its tokens"),
            (Code::TooLarge, ""),
            (Code::UnsupportedMediaType, ""),
            (Code::RateLimited, ""),
            (Code::Overloaded, ""),
            (Code::TemporarilyUnavailable, "the provider or the database is away"),
            (Code::OutcomeUnknown, "log in again"),
            (Code::Internal, ""),
        ])
    }
}

/// A session of a shop, which pages of other shops may not read.
pub(super) fn of_shop(call: &Call<'_>, tenant: u32, session: Response<Body>) -> Response<Body> {
    match TenantId::new(tenant.into()) {
        Ok(tenant) => of_tenant(call.headers(), tenant, session),
        Err(_) => session,
    }
}

impl<P: Ports> Catalog<P> {
    /// The tenant of this code, if its shop is open.
    ///
    /// # Errors
    /// `not_found`; the database's.
    pub(super) async fn open_shop(&self, code: &str) -> Result<u32, Refused> {
        let row = self.sql().rows(OPEN_SHOP, vec![code.into()]).await?.into_iter().next();
        let mut row = row.ok_or_else(|| Refused::not_found("shop"))?;
        Ok(row.number()?)
    }

    /// Logs a subject in: `200` with its token.
    ///
    /// # Errors
    /// As [`Session`]'s; the database's.
    pub(super) async fn log_in(
        &self,
        call: &Call<'_>,
        tenant: u32,
        subject: Subject,
    ) -> Result<Response<Body>, Refused> {
        let (session, kind) = (Session::begin(self, tenant, HOURS)?, subject.kind);
        let number = self.numbers_of(call, tenant, &[subject]).await?.into_iter().next();
        let number = number.ok_or_else(|| Refused::Broken("a buyer without a number".into()))?;
        let token = session.token(number, kind, false)?;
        let body = BuyerSession { buyer: number.to_string(), token, expires_at: session.expires_at() };
        Ok(secret(reply::json(StatusCode::OK, &body)))
    }
}

/// An answer that no cache keeps.
pub(super) fn secret(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CACHE_CONTROL, NO_STORE);
    response
}

/// Tokens of one tenant that are minted at one moment.
pub(super) struct Session {
    signer: TokenSigner,
    tenant: u32,
    now_ms: u64,
    expires_ms: u64,
}

impl Session {
    /// Begins to mint.
    ///
    /// # Errors
    /// `conflict` when this deployment has no key for buyers' tokens.
    pub(super) fn begin<P: Ports>(catalog: &Catalog<P>, tenant: u32, hours: u64) -> Result<Self, Refused> {
        let now_ms = catalog.clock().now_ms();
        // Tokens count seconds: what is shown is what they say.
        let expires_ms = now_ms.saturating_add(hours.saturating_mul(HOUR_MS)) / 1_000 * 1_000;
        let key = catalog.buyer_tokens().cloned().ok_or_else(|| {
            Refused::conflict("this deployment signs no buyers' tokens: its operator has to give it a token key")
        })?;
        Ok(Self { signer: TokenSigner::new(key), tenant, now_ms, expires_ms })
    }

    /// A token of a buyer.
    ///
    /// # Errors
    /// `conflict` when the key may not sign for this tenant; [`Refused::Broken`].
    pub(super) fn token(&self, number: i64, by: SubjectKind, member: bool) -> Result<String, Refused> {
        let buyer = number.unsigned_abs();
        let claims = BuyerClaims { by, member, ..BuyerClaims::new(self.tenant, buyer, self.expires_ms) };
        self.signer.sign(&claims, self.now_ms).map_err(|error| match error {
            SignError::Tenant { .. } => Refused::conflict(
                "this deployment's token key does not sign for this tenant: its operator has to add it to the key",
            ),
            SignError::Claims { .. } | SignError::Write(_) => Refused::Broken(error.to_string()),
        })
    }

    /// When the tokens end.
    pub(super) fn expires_at(&self) -> String {
        rfc3339(self.expires_ms)
    }
}
