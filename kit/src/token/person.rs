//! Tokens of a tenant's people: bearer JWTs, ES256 with `kid`. The private keys are the catalog's
//! alone; every service verifies by the public ones (`GET /v1/jwks`). Algorithm, issuer and
//! audience are pinned, so that a buyer's token is none of these and the reverse.

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ISSUER, LEEWAY_S, TOKEN_BYTES_MAX, TokenError};
use crate::access::Permissions;
use crate::digest::sha256;

/// Whom people's tokens are for: the claim `aud`.
pub const PEOPLE_AUDIENCE: &str = "flashsale-merchants";

/// Longest life of such a token, in seconds: whoever learns one has it for no longer.
const LIFETIME_MAX_S: u64 = 3_600;

const ALGORITHM: &str = "ES256";

/// Bytes of a coordinate of the curve P-256.
const COORDINATE_BYTES: usize = 32;

/// A point of it, uncompressed: a byte that says so, then x and y.
const POINT_BYTES: usize = 1 + 2 * COORDINATE_BYTES;

/// What an uncompressed point begins with.
const UNCOMPRESSED: u8 = 4;

/// What a valid token of a person says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PersonClaims {
    /// The user's number, claim `sub`, a decimal string there; 1 to 2^63 - 1.
    pub person: u64,
    /// The tenant, claim `tenant`; never zero.
    pub tenant: u32,
    /// The session, claim `sid`, a decimal string there; 1 to 2^63 - 1.
    pub session: u64,
    /// What the person might do when the token was made, claim `scope`; never what is the
    /// operator's.
    pub permissions: Permissions,
    /// When the token stops being valid, claim `exp`, in milliseconds since 1970. Whole seconds in
    /// the token.
    pub expires_ms: u64,
}

/// Why something is no key of people's tokens. Never shows a private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PersonKeyError {
    /// Another kind of key, or no point of the curve.
    #[error("this is no ES256 key: give keys of the curve P-256 as the catalog made them")]
    Key,
    /// The system made no key or signature.
    #[error("the system gives no random bytes: see that this process may call getrandom(2)")]
    Randomness,
}

/// A public key and its id, which is made of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonKey {
    kid: String,
    point: [u8; POINT_BYTES],
}

/// A public key as others read it (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Jwk {
    /// `EC`.
    kty: String,
    /// `P-256`.
    crv: String,
    /// base64url.
    x: String,
    /// base64url.
    y: String,
    /// Its id, which tokens name.
    kid: String,
    /// `ES256`.
    alg: String,
    /// `sig`.
    #[serde(rename = "use")]
    purpose: String,
}

/// All public keys by which tokens verify now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Jwks {
    /// The newest last.
    keys: Vec<Jwk>,
}

impl Jwks {
    /// These keys.
    #[must_use]
    pub fn new(keys: &[PersonKey]) -> Self {
        Self { keys: keys.iter().map(PersonKey::jwk).collect() }
    }
}

impl PersonKey {
    /// A key from its point, uncompressed (SEC 1, 2.3.3).
    ///
    /// # Errors
    ///
    /// [`PersonKeyError::Key`] when it is no such point.
    pub fn new(point: &[u8]) -> Result<Self, PersonKeyError> {
        let point: [u8; POINT_BYTES] = point.try_into().map_err(|_length| PersonKeyError::Key)?;
        if point[0] != UNCOMPRESSED {
            return Err(PersonKeyError::Key);
        }
        let digest = sha256(&point);
        Ok(Self { kid: URL_SAFE_NO_PAD.encode(&digest[..12]), point })
    }

    /// Its id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Its point, uncompressed.
    #[must_use]
    pub fn point(&self) -> &[u8] {
        &self.point
    }

    fn jwk(&self) -> Jwk {
        let (x, y) = self.point[1..].split_at(COORDINATE_BYTES);
        let [kty, crv, alg, purpose] = ["EC", "P-256", ALGORITHM, "sig"].map(str::to_owned);
        Jwk {
            kty,
            crv,
            x: URL_SAFE_NO_PAD.encode(x),
            y: URL_SAFE_NO_PAD.encode(y),
            kid: self.kid.clone(),
            alg,
            purpose,
        }
    }

    fn of_jwk(jwk: &Jwk) -> Result<Self, PersonKeyError> {
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_not_base64url| PersonKeyError::Key);
        let (x, y) = (part(&jwk.x)?, part(&jwk.y)?);
        if x.len() != COORDINATE_BYTES || jwk.kty != "EC" || jwk.crv != "P-256" {
            return Err(PersonKeyError::Key);
        }
        Ok(Self { kid: jwk.kid.clone(), ..Self::new(&[&[UNCOMPRESSED], &x[..], &y].concat())? })
    }
}

/// Verifies people's tokens against the public keys of the moment.
#[derive(Debug, Clone, Default)]
pub struct PersonVerifier {
    keys: Vec<PersonKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default, rename = "typ")]
    _typ: Option<IgnoredAny>,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    iss: String,
    aud: String,
    sub: String,
    tenant: u32,
    sid: String,
    scope: String,
    exp: u64,
    iat: u64,
}

impl PersonVerifier {
    /// A verifier that knows these keys. One without a key accepts nothing.
    #[must_use]
    pub fn new(keys: Vec<PersonKey>) -> Self {
        Self { keys }
    }

    /// A verifier that knows the keys of the catalog's `GET /v1/jwks`.
    ///
    /// # Errors
    ///
    /// [`PersonKeyError::Key`] when one of them is of another kind.
    pub fn of_jwks(jwks: &Jwks) -> Result<Self, PersonKeyError> {
        jwks.keys.iter().map(PersonKey::of_jwk).collect::<Result<_, _>>().map(Self::new)
    }

    /// What the token says, if all of it holds at `now_ms`. Whether its session still lasts, the
    /// catalog's database knows alone.
    ///
    /// # Errors
    ///
    /// Says what does not hold; the first such thing, in the order of [`TokenError`].
    /// [`TokenError::UnknownKey`] is worth another look at the keys.
    pub fn verify(&self, bearer: &str, now_ms: u64) -> Result<PersonClaims, TokenError> {
        if bearer.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = bearer.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        // A header with a further member, or of another shape, may change what the token means.
        let header: Header = decode(header)?.ok_or(TokenError::Algorithm)?;
        if header.alg != ALGORITHM {
            return Err(TokenError::Algorithm);
        }
        let kid = header.kid.ok_or(TokenError::MissingKey)?;
        let key = self.keys.iter().find(|key| key.kid == kid).ok_or(TokenError::UnknownKey)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_not_base64url| TokenError::Signature)?;
        let verified =
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.point).verify(signed.as_bytes(), &signature);
        verified.map_err(|_wrong| TokenError::Signature)?;
        let payload: Payload = decode(payload)?.ok_or(TokenError::Malformed)?;
        payload.check(now_ms)
    }
}

impl Payload {
    fn check(&self, now_ms: u64) -> Result<PersonClaims, TokenError> {
        if self.iss != ISSUER {
            return Err(TokenError::Issuer);
        }
        if self.aud != PEOPLE_AUDIENCE {
            return Err(TokenError::Audience);
        }
        let now_s = now_ms / 1_000;
        if now_s >= self.exp.saturating_add(LEEWAY_S) {
            return Err(TokenError::Expired);
        }
        if now_s.saturating_add(LEEWAY_S) < self.iat {
            return Err(TokenError::NotYetValid);
        }
        if self.exp.saturating_sub(self.iat) > LIFETIME_MAX_S {
            return Err(TokenError::Lifetime);
        }
        let (person, session) = (number(&self.sub), number(&self.sid));
        let (Some(person), Some(session), 1..) = (person, session, self.tenant) else {
            return Err(TokenError::Malformed);
        };
        let permissions = Permissions::of_scope(&self.scope).common(Permissions::of_tenant());
        let expires_ms = self.exp.saturating_mul(1_000);
        Ok(PersonClaims { person, tenant: self.tenant, session, permissions, expires_ms })
    }
}

/// A number in its one spelling, as databases hold it.
fn number(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse::<u64>().ok().filter(|number| is_plain && i64::try_from(*number).is_ok())
}

/// The JSON object in a part of a token; `None` when it is one of another shape.
fn decode<T: DeserializeOwned>(part: &str) -> Result<Option<T>, TokenError> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_not_base64url| TokenError::Malformed)?;
    // Serde would take an array for a struct, its members by their order.
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(TokenError::Malformed);
    }
    match serde_json::from_slice(&json) {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.is_data() => Ok(None),
        Err(_not_json) => Err(TokenError::Malformed),
    }
}

/// Signs people's tokens with one private key. Debug shows the public one.
#[derive(Debug, Clone)]
pub struct PersonSigner {
    key: PersonKey,
    pair: EcdsaKeyPair,
    header: String,
}

impl PersonSigner {
    /// A new key. Its randomness is the cryptographic library's own: it takes none from outside.
    ///
    /// # Errors
    ///
    /// [`PersonKeyError::Randomness`].
    pub fn generate() -> Result<Self, PersonKeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Self::of_pair(pair.map_err(|_unspecified| PersonKeyError::Randomness)?)
    }

    /// The key that [`PersonSigner::private_key`] gave, by its public one.
    ///
    /// # Errors
    ///
    /// [`PersonKeyError::Key`] when the two do not belong together.
    pub fn open(private_key: &[u8], key: &PersonKey) -> Result<Self, PersonKeyError> {
        let of = EcdsaKeyPair::from_private_key_and_public_key;
        let pair = of(&ECDSA_P256_SHA256_FIXED_SIGNING, private_key, &key.point);
        Self::of_pair(pair.map_err(|_rejected| PersonKeyError::Key)?)
    }

    fn of_pair(pair: EcdsaKeyPair) -> Result<Self, PersonKeyError> {
        let key = PersonKey::new(pair.public_key().as_ref())?;
        let header = format!("{{\"alg\":\"{ALGORITHM}\",\"typ\":\"JWT\",\"kid\":\"{}\"}}", key.kid);
        Ok(Self { key, pair, header: URL_SAFE_NO_PAD.encode(header) })
    }

    /// The private key, 32 secret bytes: seal them.
    ///
    /// # Errors
    ///
    /// [`PersonKeyError::Key`] never comes of a whole key.
    pub fn private_key(&self) -> Result<Vec<u8>, PersonKeyError> {
        let key = self.pair.private_key().as_be_bytes().map_err(|_unspecified| PersonKeyError::Key)?;
        Ok(key.as_ref().to_vec())
    }

    /// The public key.
    #[must_use]
    pub fn key(&self) -> &PersonKey {
        &self.key
    }

    /// A token that says `claims`, issued at `now_ms`. Expiry is cut down to whole seconds.
    ///
    /// # Errors
    ///
    /// [`PersonKeyError::Randomness`] when the system gives none for the signature.
    pub fn sign(&self, claims: &PersonClaims, now_ms: u64) -> Result<String, PersonKeyError> {
        let payload = Payload {
            iss: ISSUER.to_owned(),
            aud: PEOPLE_AUDIENCE.to_owned(),
            sub: claims.person.to_string(),
            tenant: claims.tenant,
            sid: claims.session.to_string(),
            scope: claims.permissions.to_scope(),
            exp: claims.expires_ms / 1_000,
            iat: now_ms / 1_000,
        };
        // Texts and numbers always serialise.
        self.sign_json(&serde_json::to_vec(&payload).unwrap_or_default())
    }

    fn sign_json(&self, payload: &[u8]) -> Result<String, PersonKeyError> {
        let mut token = format!("{}.", self.header);
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        let signature = self.pair.sign(&SystemRandom::new(), token.as_bytes());
        let signature = signature.map_err(|_unspecified| PersonKeyError::Randomness)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

#[cfg(test)]
mod tests;
