//! Buyers' tokens: bearer JWTs, HS256 with `kid`, the secret shared by issuer and engines. A
//! public-key signature would cost 15 to 100 µs a buyer; this costs less than one. Tokens of people
//! and services (ES256) are another matter and stand in `PersonVerifier`: a buyer's token can do
//! nothing of a merchant's, and the reverse.

/// Keys, checked at start.
mod key;

/// Tokens of people, which are another matter.
mod person;

/// Making tokens: for the issuer, the load test and tests.
mod sign;

/// For which tenants a key signs.
mod tenants;

/// Verifying tokens: the hot path.
mod verify;

pub use self::key::{KeyError, TokenKey};
pub use self::person::{
    Jwk, Jwks, PEOPLE_AUDIENCE, PersonClaims, PersonKey, PersonKeyError, PersonSigner, PersonVerifier,
};
pub use self::sign::{SignError, TokenSigner};
pub use self::tenants::{Tenants, TenantsError};
pub use self::verify::{TokenError, TokenVerifier};

use domain::sale::SubjectKind;

/// Who issues buyers' tokens: the claim `iss`.
pub const ISSUER: &str = "flashsale";

/// Whom they are for: the claim `aud`.
pub const AUDIENCE: &str = "flashsale-buyers";

/// What their bearer is: the claim `role`.
pub const ROLE: &str = "buyer";

/// Longest token. Longer ones are refused before any work is done on them.
pub const TOKEN_BYTES_MAX: usize = 2 * 1024;

/// How far the clocks of issuer and engine may differ, in seconds.
pub const LEEWAY_S: u64 = 5;

/// Longest life of a token in seconds, unless the verifier is given another: 31 days. A buyer's
/// token cannot be called back, so that one which was stolen, or signed by mistake for ever, ends
/// by itself.
pub const LIFETIME_MAX_S: u64 = 31 * 24 * 3_600;

/// Largest buyer id: ids are kept as signed 64-bit integers in the database.
const BUYER_MAX: u64 = i64::MAX.unsigned_abs();

/// What a valid token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuyerClaims {
    /// The shop, claim `tenant`; never zero.
    pub tenant: u32,
    /// The buyer, claim `sub`, a decimal string there; 1 to 2^63 - 1.
    pub buyer: u64,
    /// When the token stops being valid, claim `exp`, in milliseconds since 1970. Whole seconds in
    /// the token.
    pub expires_ms: u64,
    /// What the buyer is, claim `by`: an account where the token does not say.
    pub by: SubjectKind,
    /// Whether the shop says that this is a member, claim `member`: not where the token does not
    /// say.
    pub member: bool,
}

impl BuyerClaims {
    /// An account that is no member.
    #[must_use]
    pub const fn new(tenant: u32, buyer: u64, expires_ms: u64) -> Self {
        Self { tenant, buyer, expires_ms, by: SubjectKind::Account, member: false }
    }
}

/// Whether two secrets are the same, in a time that does not tell where they differ.
#[must_use]
pub fn is_same_secret(shown: &str, known: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(shown.as_bytes(), known.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests;
