//! Making buyers' tokens. Engines do not: they only verify. The issuer, the load test and tests do.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::sale::SubjectKind;
use serde::Serialize;

use super::{AUDIENCE, BUYER_MAX, BuyerClaims, ISSUER, ROLE, Tenants, TokenKey};

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// No verifier would take such a buyer or tenant.
    #[error("tenant {tenant} or buyer {buyer} is out of range")]
    Claims {
        /// The tenant asked for.
        tenant: u32,
        /// The buyer asked for.
        buyer: u64,
    },
    /// The key may not sign for this tenant. Sign with a key that names it.
    #[error("the token key `{kid}` may not sign for tenant {tenant}: its tenants are {tenants}")]
    Tenant {
        /// The tenant asked for.
        tenant: u32,
        /// The key.
        kid: String,
        /// The tenants it may sign for.
        tenants: Tenants,
    },
    /// The claims could not be written.
    #[error("the claims could not be written")]
    Write(#[from] serde_json::Error),
}

/// Signs tokens with one key.
#[derive(Debug, Clone)]
pub struct TokenSigner {
    key: TokenKey,
}

#[derive(Serialize)]
struct Written<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: String,
    tenant: u32,
    role: &'a str,
    exp: u64,
    iat: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<bool>,
}

impl TokenSigner {
    /// A signer with a key.
    #[must_use]
    pub fn new(key: TokenKey) -> Self {
        Self { key }
    }

    /// A token that says `claims`, issued at `now_ms`. Expiry is cut down to whole seconds.
    ///
    /// # Errors
    ///
    /// When no verifier would accept such claims from this key; the rest does not happen. How long
    /// a token may live is the verifier's to say.
    pub fn sign(&self, claims: &BuyerClaims, now_ms: u64) -> Result<String, SignError> {
        let BuyerClaims { tenant, buyer, expires_ms, by, member } = *claims;
        if tenant == 0 || buyer == 0 || buyer > BUYER_MAX {
            return Err(SignError::Claims { tenant, buyer });
        }
        let TokenKey { kid, tenants, .. } = &self.key;
        if !tenants.include(tenant) {
            return Err(SignError::Tenant { tenant, kid: kid.clone(), tenants: tenants.clone() });
        }
        let written = Written {
            iss: ISSUER,
            aud: AUDIENCE,
            sub: buyer.to_string(),
            tenant,
            role: ROLE,
            exp: expires_ms / 1_000,
            iat: now_ms / 1_000,
            by: (by != SubjectKind::Account).then_some(by.as_str()),
            member: member.then_some(true),
        };
        self.sign_json(&serde_json::to_vec(&written)?)
    }

    /// Signs any payload under the key's own header.
    pub(super) fn sign_json(&self, payload: &[u8]) -> Result<String, SignError> {
        let mut token = format!("{}.", self.key.header);
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        let mac = hmac::sign(&self.key.mac, token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(mac, &mut token);
        Ok(token)
    }
}
