//! Keys of tokens: an id and a secret, checked once at start so that nothing about them can fail
//! later.

use std::fmt;
use std::io;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};

use super::Tenants;

/// Least secret: the output of the hash. Less is easier to guess than to forge.
const SECRET_BYTES_MIN: usize = 32;

/// Longest key id.
const KID_LEN_MAX: usize = 64;

/// Why a key cannot be used. Never shows the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The id is empty, too long, or has characters that need escaping somewhere.
    #[error("a token key id is 1 to {KID_LEN_MAX} letters, digits, `-`, `_` or `.`, not `{0}`")]
    Kid(String),
    /// Two keys have the same id.
    #[error("the token key id `{0}` is given twice")]
    Repeated(String),
    /// The secret is not base64url.
    #[error("the secret of token key `{0}` is not base64url")]
    Encoding(String),
    /// The secret is too short.
    #[error("the secret of token key `{kid}` has {bytes} bytes; at least {SECRET_BYTES_MIN} are needed")]
    Short {
        /// Which key.
        kid: String,
        /// How long its secret is.
        bytes: usize,
    },
    /// Ids, secrets and tenants are not as many as each other.
    #[error(
        "{kids} token key ids, {secrets} secrets and {tenants} lists of tenants: give one of each for every key, in the same order"
    )]
    Unpaired {
        /// Ids given.
        kids: usize,
        /// Secrets given.
        secrets: usize,
        /// Lists of tenants given.
        tenants: usize,
    },
    /// There is no key at all: every token would be refused.
    #[error("no token key is given")]
    None,
}

/// An id, its secret, and the tenants it may sign for. Debug shows no secret.
#[derive(Clone)]
pub struct TokenKey {
    pub(super) kid: String,
    /// The secret, its first two hashes done: half of the work on a short token.
    pub(super) mac: hmac::Key,
    /// The first part of the tokens that [`TokenSigner`](super::TokenSigner) makes with this key.
    pub(super) header: String,
    pub(super) tenants: Tenants,
}

impl TokenKey {
    /// A fresh secret in the form that [`TokenKey::new`] takes: 32 bytes of the system's
    /// randomness.
    ///
    /// # Errors
    ///
    /// When the system gives none.
    pub fn fresh_secret() -> io::Result<String> {
        let mut secret = [0; SECRET_BYTES_MIN];
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| io::Error::other("the system gives no randomness"))?;
        Ok(URL_SAFE_NO_PAD.encode(secret))
    }

    /// A key from its id, its secret in base64url, with or without padding, and the tenants it may
    /// sign for.
    ///
    /// # Errors
    ///
    /// When the id or the secret is not fit for use.
    pub fn new(kid: &str, secret_base64url: &str, tenants: Tenants) -> Result<Self, KeyError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if kid.is_empty() || kid.len() > KID_LEN_MAX || !kid.bytes().all(is_plain) {
            return Err(KeyError::Kid(kid.to_owned()));
        }
        let engine = if secret_base64url.ends_with('=') { URL_SAFE } else { URL_SAFE_NO_PAD };
        let secret = engine.decode(secret_base64url).map_err(|_not_base64url| KeyError::Encoding(kid.to_owned()))?;
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyError::Short { kid: kid.to_owned(), bytes: secret.len() });
        }
        Ok(Self {
            kid: kid.to_owned(),
            mac: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            // A plain id needs no escaping in JSON.
            header: URL_SAFE_NO_PAD.encode(format!("{{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"{kid}\"}}")),
            tenants,
        })
    }

    /// The id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TokenKey")
            .field("kid", &self.kid)
            .field("tenants", &self.tenants)
            .finish_non_exhaustive()
    }
}
