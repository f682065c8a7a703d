//! Verifying buyers' tokens. Signature first, then what it signs; the time comes in as a value.
//! Nothing a token says is believed before its signature is checked, but for the key id, which only
//! picks among our own keys.

use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::sale::SubjectKind;
use serde::Deserialize;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde_json::error::Category;

use super::{
    AUDIENCE, BUYER_MAX, BuyerClaims, ISSUER, KeyError, LEEWAY_S, LIFETIME_MAX_S, ROLE, TOKEN_BYTES_MAX, Tenants,
    TokenKey,
};
use crate::problem::{Code, Problem};

/// Most keys at once: the current one, the next and the last, with room to spare. They are searched
/// one by one.
const KEYS_MAX_EXPECTED: usize = 8;

/// Bytes of an HS256 signature.
const MAC_BYTES: usize = 32;

/// Why a token is not accepted. The client is told little (401, or 403 for a role); the log and the
/// metric say which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenError {
    /// Longer than any token of ours. Ask the issuer for one.
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// Not three parts of base64url with JSON objects in them, or a claim is missing or not of its
    /// type.
    #[error("the token is malformed")]
    Malformed,
    /// Its header asks for another algorithm, `none` included, or has a member besides `alg`, `kid`
    /// and `typ`: an extension (`crit`), a compression (`zip`), a key of its own (`jwk`, `jku`).
    #[error("the token's algorithm or another member of its header is not accepted")]
    Algorithm,
    /// Its header names no key. The issuer must set `kid`.
    #[error("the token names no key")]
    MissingKey,
    /// Its key is not, or no longer, one of ours. Sign in again; check the rotation.
    #[error("the token's key is not known")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the token's signature is wrong")]
    Signature,
    /// Somebody else issued it.
    #[error("the token's issuer is not accepted")]
    Issuer,
    /// It is meant for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// Its time is over. Ask the issuer for a new one.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come. Check the clocks.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// It would be valid for longer than a token may be, or its times are not in seconds.
    #[error("the token is valid for too long; `exp` is in seconds since 1970")]
    Lifetime,
    /// A valid token, but not a buyer's. Answer 403.
    #[error("the token is not a buyer's")]
    Role,
    /// It names no tenant or buyer that can exist.
    #[error("the token's subject is not a buyer id")]
    Subject,
    /// Its key may not sign for its tenant. Check which key the issuer of that shop uses.
    #[error("the token's key does not sign for its tenant")]
    Tenant,
}

impl TokenError {
    /// A word for metrics; the set is fixed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::MissingKey => "missing_key",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Lifetime => "lifetime",
            Self::Role => "role",
            Self::Subject => "subject",
            Self::Tenant => "tenant",
        }
    }

    /// Whether the bearer is known but may not do this (403), rather than unknown (401).
    #[must_use]
    pub const fn is_forbidden(self) -> bool {
        matches!(self, Self::Role)
    }
}

impl From<TokenError> for Problem {
    /// The client learns whether to sign in or to give up; why, only the metric and the log learn.
    fn from(error: TokenError) -> Self {
        if error.is_forbidden() {
            Self::new(Code::Forbidden, "this is for buyers")
        } else {
            Self::new(Code::Unauthenticated, "the token is not accepted; sign in again")
        }
    }
}

/// Verifies buyers' tokens against a fixed set of keys.
#[derive(Debug, Clone)]
pub struct TokenVerifier {
    keys: Vec<TokenKey>,
    lifetime_max_s: u64,
}

/// A header that is not byte for byte one of ours. A further member may change what the token
/// means, so that none is passed over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForeignHeader<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow, default)]
    kid: Option<Cow<'a, str>>,
    #[serde(default, rename = "typ")]
    _typ: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    iss: Cow<'a, str>,
    aud: Audience,
    #[serde(borrow)]
    sub: Cow<'a, str>,
    tenant: u32,
    #[serde(borrow)]
    role: Cow<'a, str>,
    exp: u64,
    #[serde(default)]
    nbf: Option<u64>,
    #[serde(default)]
    iat: Option<u64>,
    #[serde(default)]
    by: By,
    #[serde(default)]
    member: bool,
}

/// The claim `by`. A kind that this program does not know is `None`: it is no account.
struct By(Option<SubjectKind>);

impl Default for By {
    fn default() -> Self {
        Self(Some(SubjectKind::Account))
    }
}

/// Whether the claim `aud`, a string or a list of them, names us.
struct Audience {
    names_us: bool,
}

impl TokenVerifier {
    /// A verifier that knows `keys`. The order does not matter for what is accepted; the most used
    /// one first is faster.
    ///
    /// # Errors
    ///
    /// When there is no key, or two with the same id.
    pub fn new(keys: Vec<TokenKey>) -> Result<Self, KeyError> {
        if keys.is_empty() {
            return Err(KeyError::None);
        }
        if keys.len() > KEYS_MAX_EXPECTED {
            tracing::warn!(keys = keys.len(), "many token keys; each is tried in turn");
        }
        for (index, key) in keys.iter().enumerate() {
            if keys[..index].iter().any(|earlier| earlier.kid == key.kid) {
                return Err(KeyError::Repeated(key.kid.clone()));
            }
        }
        Ok(Self { keys, lifetime_max_s: LIFETIME_MAX_S })
    }

    /// The same with another longest life of a token, in seconds.
    #[must_use]
    pub fn with_lifetime_max_s(self, lifetime_max_s: u64) -> Self {
        Self { lifetime_max_s, ..self }
    }

    /// What the token says, if all of it holds at `now_ms`.
    ///
    /// # Errors
    ///
    /// Says what does not hold; the first such thing, in the order of [`TokenError`].
    pub fn verify(&self, bearer: &str, now_ms: u64) -> Result<BuyerClaims, TokenError> {
        if bearer.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = bearer.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let key = self.key_of(header)?;
        let mut mac = [0_u8; MAC_BYTES];
        match URL_SAFE_NO_PAD.decode_slice(signature, &mut mac) {
            Ok(MAC_BYTES) => {}
            Ok(_) | Err(_) => return Err(TokenError::Signature),
        }
        // In constant time.
        hmac::verify(&key.mac, signed.as_bytes(), &mac).map_err(|_wrong| TokenError::Signature)?;
        // On the stack: decoding makes it shorter, and it was bounded above.
        let mut buffer = [0_u8; TOKEN_BYTES_MAX];
        let json = decode_into(&mut buffer, payload)?;
        let payload: Payload<'_> = serde_json::from_slice(json).map_err(|_not_claims| TokenError::Malformed)?;
        payload.check(&key.tenants, self.lifetime_max_s, now_ms)
    }

    /// The key that a header names. Headers of our own making are recognised by their bytes alone.
    fn key_of(&self, header: &str) -> Result<&TokenKey, TokenError> {
        if let Some(key) = self.keys.iter().find(|key| key.header == header) {
            return Ok(key);
        }
        let mut buffer = [0_u8; TOKEN_BYTES_MAX];
        let json = decode_into(&mut buffer, header)?;
        let foreign: ForeignHeader<'_> = serde_json::from_slice(json).map_err(|error| match error.classify() {
            Category::Data => TokenError::Algorithm,
            Category::Io | Category::Syntax | Category::Eof => TokenError::Malformed,
        })?;
        if foreign.alg != "HS256" {
            return Err(TokenError::Algorithm);
        }
        let kid = foreign.kid.ok_or(TokenError::MissingKey)?;
        self.keys.iter().find(|key| key.kid == kid).ok_or(TokenError::UnknownKey)
    }
}

impl Payload<'_> {
    fn check(&self, tenants: &Tenants, lifetime_max_s: u64, now_ms: u64) -> Result<BuyerClaims, TokenError> {
        if self.iss != ISSUER {
            return Err(TokenError::Issuer);
        }
        if !self.aud.names_us {
            return Err(TokenError::Audience);
        }
        let now_s = now_ms / 1_000;
        // RFC 7519, 4.1.4: on or after `exp` the token is not accepted.
        if now_s >= self.exp.saturating_add(LEEWAY_S) {
            return Err(TokenError::Expired);
        }
        if self.nbf.is_some_and(|nbf| now_s.saturating_add(LEEWAY_S) < nbf) {
            return Err(TokenError::NotYetValid);
        }
        // From now on, and as it was issued: else a token for a year would begin to hold in its
        // last month.
        let longest = |from: u64, leeway_s| self.exp.saturating_sub(from) > lifetime_max_s.saturating_add(leeway_s);
        if longest(now_s, LEEWAY_S) || self.iat.is_some_and(|iat| longest(iat, 0)) {
            return Err(TokenError::Lifetime);
        }
        if self.role != ROLE {
            return Err(TokenError::Role);
        }
        let buyer = buyer_of(&self.sub).ok_or(TokenError::Subject)?;
        if self.tenant == 0 {
            return Err(TokenError::Subject);
        }
        if !tenants.include(self.tenant) {
            return Err(TokenError::Tenant);
        }
        let by = self.by.0.ok_or(TokenError::Subject)?;
        let expires_ms = self.exp.saturating_mul(1_000);
        Ok(BuyerClaims { tenant: self.tenant, buyer, expires_ms, by, member: self.member })
    }
}

/// A buyer id has one spelling: digits, no sign, no leading zero. Two spellings would be two buyers
/// to some reader.
fn buyer_of(subject: &str) -> Option<u64> {
    let is_canonical = subject.bytes().all(|byte| byte.is_ascii_digit()) && !subject.starts_with('0');
    let buyer = subject.parse::<u64>().ok().filter(|_| is_canonical)?;
    (1..=BUYER_MAX).contains(&buyer).then_some(buyer)
}

/// The JSON object in a part.
fn decode_into<'a>(buffer: &'a mut [u8], part: &str) -> Result<&'a [u8], TokenError> {
    let length = URL_SAFE_NO_PAD.decode_slice(part, buffer).map_err(|_not_base64url| TokenError::Malformed)?;
    let json = buffer.get(..length).ok_or(TokenError::Malformed)?;
    // Serde would take an array for a struct, its members by their order.
    if json.trim_ascii_start().starts_with(b"{") { Ok(json) } else { Err(TokenError::Malformed) }
}

impl<'de> Deserialize<'de> for By {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = By;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a kind of subject")
            }

            fn visit_str<E>(self, name: &str) -> Result<By, E> {
                Ok(By(SubjectKind::named(name)))
            }
        }

        deserializer.deserialize_str(Name)
    }
}

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StringOrList;

        impl<'de> Visitor<'de> for StringOrList {
            type Value = Audience;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or a list of strings")
            }

            fn visit_str<E>(self, audience: &str) -> Result<Audience, E> {
                Ok(Audience { names_us: audience == AUDIENCE })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Audience, A::Error> {
                let mut names_us = false;
                while let Some(audience) = list.next_element::<Cow<'de, str>>()? {
                    names_us |= audience == AUDIENCE;
                }
                Ok(Audience { names_us })
            }
        }

        deserializer.deserialize_any(StringOrList)
    }
}
